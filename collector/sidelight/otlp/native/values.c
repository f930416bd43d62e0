/* Reads values out of a walked span, and writes spans with other attributes. */
#include "span.h"

static PyObject *bytes_of(Reader part) {
    return PyBytes_FromStringAndSize((const char *)part.at, (Py_ssize_t)left(&part));
}

static PyObject *text_of(Reader part) {
    return PyUnicode_DecodeUTF8((const char *)part.at, (Py_ssize_t)left(&part), "strict");
}

/* The Python value of an AnyValue that `check_value` has accepted, as otlp/span.py's `value`. */
static PyObject *python_value(Reader value) {
    uint32_t number;
    Reader part;
    if (!left(&value) || !read_value(value, &number, &part)) Py_RETURN_NONE;
    uint64_t varint = 0;
    double real;
    switch (number) {
    case STRING: return text_of(part);
    case RAW: return bytes_of(part);
    case BOOLEAN: case INTEGER:
        read_varint(&part, 64, &varint);
        return number == BOOLEAN ? PyBool_FromLong(varint != 0) : PyLong_FromLongLong((int64_t)varint);
    case DOUBLE:
        varint = little_endian64(part.at);
        memcpy(&real, &varint, sizeof real);
        return PyFloat_FromDouble(real);
    case ARRAY: break;
    default: Py_RETURN_NONE;
    }
    PyObject *list = PyList_New(0);
    while (list && part.at < part.end) {
        Reader item = part;
        PyObject *plain = read_field(&part, 1, &item) ? python_value(item) : Py_NewRef(Py_None);
        if (!plain || PyList_Append(list, plain) < 0) Py_CLEAR(list);
        Py_XDECREF(plain);
    }
    return list;
}

/* The attribute of a Python index, NULL with an error set where there is none. */
static const Attribute *attribute_at(const WalkedSpan *span, PyObject *index) {
    Py_ssize_t at = PyLong_Check(index) ? PyLong_AsSsize_t(index) : -1;
    if (at >= 0 && at < Py_SIZE(span)) return &span->attributes[at];
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "there is no such attribute");
    return NULL;
}

static const uint8_t *base_of(const WalkedSpan *span) {
    return (const uint8_t *)PyBytes_AS_STRING(span->item);
}

/* The AnyValue of an attribute. */
static Reader value_of(const WalkedSpan *span, const Attribute *attribute) {
    const uint8_t *base = base_of(span);
    Reader field = {base + attribute->value, base + attribute->end}, value = field;
    read_field(&field, 2, &value);
    return value;
}

static PyObject *value(PyObject *self, PyObject *index) {
    const WalkedSpan *span = (const WalkedSpan *)self;
    const Attribute *attribute = attribute_at(span, index);
    return attribute ? python_value(value_of(span, attribute)) : NULL;
}

static PyObject *text(PyObject *self, PyObject *index) {
    const WalkedSpan *span = (const WalkedSpan *)self;
    const Attribute *attribute = attribute_at(span, index);
    if (!attribute) return NULL;
    Reader value = value_of(span, attribute), part;
    if (read_field(&value, STRING, &part)) return text_of(part);
    return PyUnicode_FromStringAndSize(NULL, 0);
}

static PyObject *head(PyObject *self, PyObject *ignored) {
    (void)ignored;
    const Head *head = &((const WalkedSpan *)self)->head;
    return Py_BuildValue("NNNNiKK", bytes_of(head->trace_id), bytes_of(head->span_id),
                         bytes_of(head->parent_span_id), text_of(head->name), (int)head->kind,
                         (unsigned long long)head->start, (unsigned long long)head->end);
}

static PyObject *name(PyObject *self, void *ignored) {
    (void)ignored;
    return text_of(((const WalkedSpan *)self)->head.name);
}

static PyObject *parent_span_id(PyObject *self, void *ignored) {
    (void)ignored;
    return bytes_of(((const WalkedSpan *)self)->head.parent_span_id);
}

static PyObject *start(PyObject *self, void *ignored) {
    (void)ignored;
    return PyLong_FromUnsignedLongLong(((const WalkedSpan *)self)->head.start);
}

PyGetSetDef span_facts[] = {
    {"name", name, NULL, NULL, NULL},
    {"parent_span_id", parent_span_id, NULL, NULL, NULL},
    {"start_time_unix_nano", start, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *names(PyObject *self, PyObject *ignored) {
    (void)ignored;
    const WalkedSpan *span = (const WalkedSpan *)self;
    PyObject *list = PyList_New(Py_SIZE(span));
    for (Py_ssize_t i = 0; list && i < Py_SIZE(span); i++) {
        const uint8_t *base = base_of(span);
        Reader field = {base + span->attributes[i].name, base + span->attributes[i].value};
        Reader name = field;
        read_field(&field, 1, &name);
        PyObject *text = text_of(name);
        if (!text) Py_CLEAR(list);
        else PyList_SET_ITEM(list, i, text);
    }
    return list;
}

static size_t varint_size(uint64_t number) {
    size_t size = 1;
    while (number >>= 7) size++;
    return size;
}

static uint8_t *write_varint(uint8_t *to, uint64_t number) {
    for (; number > 0x7f; number >>= 7) *to++ = (uint8_t)(number | 0x80);
    *to++ = (uint8_t)number;
    return to;
}

static uint8_t *append(uint8_t *to, const void *bytes, size_t size) {
    memcpy(to, bytes, size);
    return to + size;
}

/* A tag of one byte and a length, as the spec has it for texts and messages. */
static uint8_t *write_start(uint8_t *to, int number, size_t size) {
    *to++ = (uint8_t)(number << 3 | LENGTH);
    return write_varint(to, size);
}

static size_t length_delimited(size_t size) { return 1 + varint_size(size) + size; }

/* One part of an edited span. `first` stands behind a tag and length of its own if `is_pair`. */
typedef struct {
    Reader first, second;
    bool is_pair;
} Piece;

/* False with an error set where `part` is none of what `edited` takes. */
static bool piece_of(const WalkedSpan *span, PyObject *part, Piece *piece) {
    const uint8_t *base = base_of(span);
    *piece = (Piece){{base, base}, {base, base}, false};
    if (PyBytes_Check(part)) {
        piece->first.at = (const uint8_t *)PyBytes_AS_STRING(part);
        piece->first.end = piece->first.at + PyBytes_GET_SIZE(part);
        return true;
    }
    piece->is_pair = PyTuple_Check(part) && PyTuple_GET_SIZE(part) == 2 &&
                     PyBytes_Check(PyTuple_GET_ITEM(part, 0));
    const Attribute *given = attribute_at(span, piece->is_pair ? PyTuple_GET_ITEM(part, 1) : part);
    if (!given) return false;
    if (!piece->is_pair) {
        piece->first = (Reader){base + given->start, base + given->end};
        return true;
    }
    PyObject *name = PyTuple_GET_ITEM(part, 0);
    piece->first.at = (const uint8_t *)PyBytes_AS_STRING(name);
    piece->first.end = piece->first.at + PyBytes_GET_SIZE(name);
    piece->second = (Reader){base + given->value, base + given->end};
    return true;
}

static PyObject *edited(PyObject *self, PyObject *parts) {
    const WalkedSpan *span = (const WalkedSpan *)self;
    if (!PyList_Check(parts)) {
        PyErr_SetString(PyExc_TypeError, "the parts are a list");
        return NULL;
    }
    const uint8_t *base = base_of(span);
    size_t before = span->head.attributes_start;
    size_t after = (size_t)PyBytes_GET_SIZE(span->item) - span->head.attributes_end;
    size_t size = before + after;
    Piece piece;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts); i++) {
        if (!piece_of(span, PyList_GET_ITEM(parts, i), &piece)) return NULL;
        size_t content = left(&piece.first) + left(&piece.second);
        size += piece.is_pair ? length_delimited(content) : content;
        /* Far above any request, and far below where a sum could overflow. */
        if (size > INT32_MAX) return PyErr_NoMemory();
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!made) return NULL;
    uint8_t *to = append((uint8_t *)PyBytes_AS_STRING(made), base, before);
    /* No Python code runs in between, so the parts are what they were. */
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts); i++) {
        piece_of(span, PyList_GET_ITEM(parts, i), &piece);
        if (piece.is_pair)
            to = write_start(to, ATTRIBUTES, left(&piece.first) + left(&piece.second));
        to = append(to, piece.first.at, left(&piece.first));
        to = append(to, piece.second.at, left(&piece.second));
    }
    append(to, base + span->head.attributes_end, after);
    return made;
}

PyMethodDef span_methods[] = {
    {"value", value, METH_O, NULL},   {"text", text, METH_O, NULL},
    {"head", head, METH_NOARGS, NULL}, {"names", names, METH_NOARGS, NULL},
    {"edited", edited, METH_O, NULL}, {NULL, NULL, 0, NULL},
};

/* A text's bytes in UTF-8, kept by the text. False with an error set for other objects. */
static bool utf8_of(PyObject *text, Reader *part) {
    Py_ssize_t size;
    const char *bytes = PyUnicode_Check(text) ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    if (!bytes) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "no value of an attribute");
        return false;
    }
    *part = (Reader){(const uint8_t *)bytes, (const uint8_t *)bytes + size};
    return true;
}

/* The size of a list of texts as OTLP's ArrayValue; false with an error set for other lists. */
static bool array_size(PyObject *list, size_t *size) {
    *size = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        Reader item;
        if (!utf8_of(PyList_GET_ITEM(list, i), &item)) return false;
        *size += length_delimited(length_delimited(left(&item)));
    }
    return true;
}

PyObject *attribute(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "attribute(name, value)");
        return NULL;
    }
    PyObject *plain = args[1];
    bool is_list = PyList_Check(plain);
    Reader text = {NULL, NULL};
    uint8_t number[1 + 10];
    size_t number_size = 0, content = 0;
    if (PyBool_Check(plain)) {
        number[0] = BOOLEAN << 3 | VARINT;
        number[1] = plain == Py_True;
        number_size = 2;
    } else if (PyLong_Check(plain)) {
        int overflow;
        long long integer = PyLong_AsLongLongAndOverflow(plain, &overflow);
        if (overflow) {
            PyErr_SetString(PyExc_ValueError, "an integer of an attribute has 64 bits");
            return NULL;
        }
        number[0] = INTEGER << 3 | VARINT;
        number_size = (size_t)(write_varint(number + 1, (uint64_t)integer) - number);
    } else if (PyFloat_Check(plain)) {
        number[0] = DOUBLE << 3 | FIXED64;
        if (PyFloat_Pack8(PyFloat_AS_DOUBLE(plain), (char *)number + 1, 1) < 0) return NULL;
        number_size = 9;
    } else if (is_list ? !array_size(plain, &content) : !utf8_of(plain, &text)) {
        return NULL;
    }
    if (!number_size && !is_list) content = left(&text);
    size_t name = (size_t)PyBytes_GET_SIZE(args[0]);
    size_t value = number_size ? number_size : length_delimited(content);
    size_t pair = name + length_delimited(value);
    if (content > INT32_MAX || name > INT32_MAX) return PyErr_NoMemory();
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length_delimited(pair));
    if (!made) return NULL;
    uint8_t *to = write_start((uint8_t *)PyBytes_AS_STRING(made), ATTRIBUTES, pair);
    to = append(to, PyBytes_AS_STRING(args[0]), name);
    to = write_start(to, 2, value);
    if (number_size) {
        append(to, number, number_size);
    } else if (!is_list) {
        append(write_start(to, STRING, content), text.at, content);
    } else {
        to = write_start(to, ARRAY, content);
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(plain); i++) {
            /* Each text keeps its bytes since they were counted. */
            utf8_of(PyList_GET_ITEM(plain, i), &text);
            to = write_start(to, 1, length_delimited(left(&text)));
            to = append(write_start(to, STRING, left(&text)), text.at, left(&text));
        }
    }
    return made;
}
