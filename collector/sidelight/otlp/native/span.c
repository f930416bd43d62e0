/* Walks a serialised span: its head, the names of its attributes, and where their values are.
 *
 * Only spans as encoders write them are walked: fields in the order of their numbers, each at most
 * once, nothing unknown, and attributes of a name and a value. All others are left to protobuf.
 * Whether texts are UTF-8 was checked before; what is read here is decoded strictly.
 */
#include "span.h"
#include <structmember.h>

/* The wire type of each field of a span, and of a value. */
static const int8_t SPAN_TYPES[] = {-1, LENGTH, LENGTH, LENGTH, LENGTH, LENGTH, VARINT, FIXED64,
                                    FIXED64, LENGTH, VARINT, LENGTH, VARINT, LENGTH, VARINT, LENGTH,
                                    FIXED32};
static const int8_t VALUE_TYPES[] = {-1, LENGTH, VARINT, VARINT, FIXED64, LENGTH, LENGTH, LENGTH};

/* An enum is a number of 32 bits with a sign, written as one of 64 bits: protobuf drops the others. */
#define MAX_ENUM INT32_MAX

/* What is found before it is known how many attributes there are. */
typedef struct {
    Head head;
    int count;
    size_t names_size;
    Attribute attributes[MAX_ATTRIBUTES];
} Found;

bool read_value(Reader value, uint32_t *number, Reader *part) {
    uint64_t ignored;
    const uint8_t *fixed;
    if (value.at == value.end) return false;
    uint8_t tag = *value.at++;
    *number = tag >> 3;
    if (*number < STRING || *number > RAW || (tag & 7) != VALUE_TYPES[*number]) return false;
    part->at = value.at;
    if ((tag & 7) == VARINT    ? !read_varint(&value, 64, &ignored)
        : (tag & 7) == FIXED64 ? !read_fixed(&value, 8, &fixed)
                               : !read_bytes(&value, part))
        return false;
    if ((tag & 7) != LENGTH) part->end = value.at;
    return value.at == value.end;
}

/* Whether a value can be read. Of maps nothing is, as otlp/span.py says. */
static bool check_value(Reader value, int depth) {
    uint32_t number;
    Reader items, item;
    if (depth > MAX_DEPTH || !read_value(value, &number, &items)) return false;
    while (number == ARRAY && items.at < items.end)
        if (!read_field(&items, 1, &item) || (left(&item) && !check_value(item, depth + 1)))
            return false;
    return true;
}

static bool read_attribute(Found *found, const uint8_t *base, const uint8_t *start, Reader pair) {
    if (found->count == MAX_ATTRIBUTES) return false;
    Attribute *attribute = &found->attributes[found->count++];
    uint32_t number;
    Reader part, content;
    attribute->start = (uint32_t)(start - base);
    attribute->name = (uint32_t)(pair.at - base);
    if (!read_field(&pair, 1, &part)) return false;
    attribute->value = (uint32_t)(pair.at - base);
    if (!read_field(&pair, 2, &part) || pair.at != pair.end) return false;
    attribute->end = (uint32_t)(pair.at - base);
    found->names_size += attribute->value - attribute->name;
    if (!read_value(part, &number, &content)) return false;
    if (number == STRING && !left(&content)) found->head.may_have_empty = true;
    return number != ARRAY || check_value(part, 0);
}

static bool read_status(Reader status, char *is_error) {
    uint32_t last = 0;
    while (status.at < status.end) {
        uint32_t number;
        uint64_t code;
        Reader message;
        int type;
        if (!read_tag(&status, &number, &type) || number <= last) return false;
        last = number;
        if (number == STATUS_MESSAGE && type == LENGTH) {
            if (!read_bytes(&status, &message)) return false;
        } else if (number == STATUS_CODE && type == VARINT) {
            if (!read_varint(&status, 64, &code) || code > MAX_ENUM) return false;
            *is_error = code == ERROR;
        } else {
            return false;
        }
    }
    return true;
}

static bool read_span(Reader span, Found *found) {
    const uint8_t *base = span.at;
    Head *head = &found->head;
    uint32_t last = 0;
    while (span.at < span.end) {
        const uint8_t *start = span.at, *fixed = NULL;
        uint32_t number;
        uint64_t value = 0;
        Reader part = {NULL, NULL};
        int type;
        if (!read_tag(&span, &number, &type) || number > FLAGS || type != SPAN_TYPES[number])
            return false;
        bool is_repeated = number == ATTRIBUTES || number == EVENTS || number == LINKS;
        if (number < last || (number == last && !is_repeated)) return false;
        if (last < ATTRIBUTES && number >= ATTRIBUTES)
            head->attributes_start = head->attributes_end = (uint32_t)(start - base);
        last = number;
        if (type == LENGTH ? !read_bytes(&span, &part)
            : type == VARINT ? !read_varint(&span, 64, &value)
                             : !read_fixed(&span, type == FIXED64 ? 8 : 4, &fixed))
            return false;
        switch (number) {
        case TRACE_ID: head->trace_id = part; break;
        case SPAN_ID: head->span_id = part; break;
        case PARENT_SPAN_ID: head->parent_span_id = part; break;
        case NAME: head->name = part; break;
        case KIND: head->kind = value; break;
        case START: head->start = little_endian64(fixed); break;
        case END: head->end = little_endian64(fixed); break;
        case ATTRIBUTES:
            if (!read_attribute(found, base, start, part)) return false;
            head->attributes_end = (uint32_t)(span.at - base);
            break;
        case EVENTS: head->has_events = true; break;
        case STATUS:
            if (!read_status(part, &head->is_error)) return false;
            break;
        default: break;
        }
    }
    if (last < ATTRIBUTES)
        head->attributes_start = head->attributes_end = (uint32_t)(span.at - base);
    return head->kind <= MAX_ENUM;
}

/* What spans with equal plans have in common. The first byte is none that protobuf's shape of a
 * span (SpanShape) begins with. */
static PyObject *shape_of(const Found *found, const char *base) {
    PyObject *shape = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)found->names_size + 1);
    if (!shape) return NULL;
    char *to = PyBytes_AS_STRING(shape);
    *to++ = (char)(0xf0 | found->head.is_error | found->head.has_events << 1 |
                   found->head.may_have_empty << 2);
    for (int i = 0; i < found->count; i++) {
        const Attribute *attribute = &found->attributes[i];
        memcpy(to, base + attribute->name, attribute->value - attribute->name);
        to += attribute->value - attribute->name;
    }
    return shape;
}

PyObject *walk(PyObject *module, PyObject *item) {
    if (!PyBytes_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a span is bytes");
        return NULL;
    }
    const char *base = PyBytes_AS_STRING(item);
    Py_ssize_t size = PyBytes_GET_SIZE(item);
    Reader span = {(const uint8_t *)base, (const uint8_t *)base + size}, none = {span.at, span.at};
    /* Not all of it: the array of attributes is larger than the rest. */
    Found found;
    found.head = (Head){.trace_id = none, .span_id = none, .parent_span_id = none, .name = none};
    found.count = 0;
    found.names_size = 0;
    if (size > INT32_MAX || !read_span(span, &found)) Py_RETURN_NONE;
    PyObject *shape = shape_of(&found, base);
    if (!shape) return NULL;
    const State *state = PyModule_GetState(module);
    WalkedSpan *walked = PyObject_NewVar(WalkedSpan, state->span_type, found.count);
    if (!walked) {
        Py_DECREF(shape);
        return NULL;
    }
    walked->item = Py_NewRef(item);
    walked->shape = shape;
    walked->head = found.head;
    memcpy(walked->attributes, found.attributes, (size_t)found.count * sizeof(Attribute));
    return (PyObject *)walked;
}

static void deallocate(PyObject *self) {
    WalkedSpan *span = (WalkedSpan *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(span->item);
    Py_DECREF(span->shape);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"shape", T_OBJECT_EX, offsetof(WalkedSpan, shape), READONLY, NULL},
    {"is_error", T_BOOL, offsetof(WalkedSpan, head.is_error), READONLY, NULL},
    {"has_events", T_BOOL, offsetof(WalkedSpan, head.has_events), READONLY, NULL},
    {"may_have_empty", T_BOOL, offsetof(WalkedSpan, head.may_have_empty), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)deallocate},
    {Py_tp_members, members},
    {Py_tp_methods, span_methods},
    {Py_tp_getset, span_facts},
    {0, NULL},
};

/* Without the garbage collector's flag: it holds nothing but bytes. */
static PyType_Spec specification = {
    .name = "sidelight.otlp._wire.WalkedSpan",
    .basicsize = sizeof(WalkedSpan),
    .itemsize = sizeof(Attribute),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int add_span_type(PyObject *module) {
    State *state = PyModule_GetState(module);
    state->span_type = (PyTypeObject *)PyType_FromSpec(&specification);
    if (!state->span_type) return -1;
    return PyModule_AddObjectRef(module, "WalkedSpan", (PyObject *)state->span_type);
}
