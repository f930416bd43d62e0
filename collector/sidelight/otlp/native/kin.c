/* The ids of serialised spans, and which of some attributes they have: what inheritance asks. */
#include "span.h"

#define MAX_NAMES 32

typedef struct {
    Reader starts[MAX_NAMES];
    Py_ssize_t count;
    /* By the second byte of a start, the length of a short name: most attributes have another. */
    bool lengths[256];
} Names;

/* A bit for each start that these attributes begin with. */
static uint32_t bits_of(const Names *names, Reader pair) {
    if (left(&pair) < 2 || !names->lengths[pair.at[1]]) return 0;
    uint32_t bits = 0;
    for (Py_ssize_t i = 0; i < names->count; i++) {
        size_t size = left(&names->starts[i]);
        if (size <= left(&pair) && memcmp(pair.at, names->starts[i].at, size) == 0) bits |= 1u << i;
    }
    return bits;
}

/* False where it is no message. Of a repeated id the last one counts, as the spec says. */
static bool read_kin(const Names *names, Reader span, Reader ids[5], uint32_t *bits) {
    while (span.at < span.end) {
        uint32_t number;
        uint64_t ignored;
        const uint8_t *fixed;
        Reader part;
        int type;
        if (!read_tag(&span, &number, &type)) return false;
        switch (type) {
        case LENGTH:
            if (!read_bytes(&span, &part)) return false;
            if (number <= PARENT_SPAN_ID) ids[number] = part;
            if (number == ATTRIBUTES) *bits |= bits_of(names, part);
            break;
        case VARINT:
            if (!read_varint(&span, 64, &ignored)) return false;
            break;
        case FIXED64: case FIXED32:
            if (!read_fixed(&span, type == FIXED64 ? 8 : 4, &fixed)) return false;
            break;
        default: return false;
        }
    }
    return true;
}

static bool read_names(PyObject *starts, Names *names) {
    memset(names, 0, sizeof *names);
    names->count = PyTuple_GET_SIZE(starts);
    if (names->count > MAX_NAMES) return false;
    for (Py_ssize_t i = 0; i < names->count; i++) {
        PyObject *start = PyTuple_GET_ITEM(starts, i);
        if (!PyBytes_Check(start) || PyBytes_GET_SIZE(start) < 2) return false;
        const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(start);
        names->starts[i] = (Reader){at, at + PyBytes_GET_SIZE(start)};
        names->lengths[at[1]] = true;
    }
    return true;
}

static PyObject *bytes_of(Reader part) {
    return PyBytes_FromStringAndSize((const char *)part.at, (Py_ssize_t)left(&part));
}

/* NULL for what is not a message, then without an error set. */
static PyObject *kin_of(const Names *names, PyObject *item) {
    if (!PyBytes_Check(item)) return PyErr_Format(PyExc_TypeError, "a span is bytes");
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(item);
    Reader none = {at, at}, ids[5] = {none, none, none, none, none};
    uint32_t bits = 0;
    if (!read_kin(names, (Reader){at, at + PyBytes_GET_SIZE(item)}, ids, &bits))
        return NULL;
    return Py_BuildValue("NNNI", bytes_of(ids[TRACE_ID]), bytes_of(ids[SPAN_ID]),
                         bytes_of(ids[PARENT_SPAN_ID]), bits);
}

PyObject *kin(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    Names names;
    if (count != 2 || !PyList_Check(args[0]) || !PyTuple_Check(args[1]) ||
        !read_names(args[1], &names)) {
        PyErr_SetString(PyExc_TypeError, "kin(spans, starts)");
        return NULL;
    }
    Py_ssize_t size = PyList_GET_SIZE(args[0]);
    PyObject *list = PyList_New(size);
    /* Making bytes and tuples may collect garbage, which runs Python code: the list may change. */
    for (Py_ssize_t i = 0; list && i < size; i++) {
        PyObject *item = i < PyList_GET_SIZE(args[0]) ? PyList_GET_ITEM(args[0], i) : Py_None;
        Py_INCREF(item);
        PyObject *one = kin_of(&names, item);
        Py_DECREF(item);
        if (one) PyList_SET_ITEM(list, i, one);
        else Py_CLEAR(list);
    }
    if (!list && !PyErr_Occurred()) Py_RETURN_NONE;
    return list;
}
