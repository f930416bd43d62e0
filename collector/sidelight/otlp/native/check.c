/* Whether bytes are a valid message, without making anything of them.
 *
 * True is said only of what protobuf's parser takes as well. Whatever is rare (groups, known fields
 * with another wire type, deep nesting) is left to that parser, so that this stays small.
 */
#include "reader.h"

/* A row of the schema has an entry for each field by its number: its kind, and for a message the
 * number of its row in the other bits. Entry 0 is of the message itself: which one it is, and a bit
 * where it has fields of higher numbers. `otlp/schema.py` writes it. */
#define MAX_FIELDS 32
#define KIND_BITS 4
enum {
    UNKNOWN, NUMBER, DOUBLE, NUMBER64, NUMBER32, BYTES, TEXT, MESSAGE,
    /* Repeated numbers, which the spec lets stand in one field together or in one each. */
    NUMBERS, NUMBERS64, NUMBERS32,
    /* Left to protobuf. */
    OTHER
};
/* Of a message itself: an AnyValue, a KeyValue, a Span. */
enum { PLAIN, ANY_VALUE, KEY_VALUE, SPAN };
#define HAS_HIGHER_FIELDS 4

/* As in otlp/check.py. */
#define SLICED_LEVELS 3

/* Answers, see otlp/wire.py. */
enum { NOT_SURE = 0, VALID = 1, CLEAN = 2 };

typedef struct {
    const uint16_t *rows;
    Py_ssize_t count;
    bool clean;
    const uint8_t *limit;
    /* As in otlp/check.py: fields of messages above `whole_bytes` that may still come. */
    uint64_t whole_bytes;
    uint64_t parts_left;
    int sliced_levels;
} Check;

static bool is_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i]) return false;
    return true;
}

/* Whether an id is as OTLP wants it; `number` is that of its field in a span. */
static bool is_good_id(uint32_t number, Reader id) {
    size_t size = left(&id);
    if (number == 4) return size == 8 || size == 0;
    return size == (number == 1 ? 16u : 8u) && !is_zero(id.at, size);
}

static bool check_packed(int kind, Reader part) {
    uint64_t number;
    if (kind == NUMBERS64) return left(&part) % 8 == 0;
    if (kind == NUMBERS32) return left(&part) % 4 == 0;
    while (part.at < part.end)
        if (!read_varint(&part, 64, &number)) return false;
    return true;
}

/* Whether this is an attribute with a text, as encoders write it: nearly all messages in a request
 * are part of one. False means no more than that it is to be checked field by field. */
static bool is_text_attribute(Check *check, Reader pair) {
    Reader name, value, text;
    return read_field(&pair, 1, &name) && read_field(&pair, 2, &value) && !left(&pair) &&
           read_field(&value, 1, &text) && !left(&value) &&
           read_text(name, check->limit, &check->clean) &&
           read_text(text, check->limit, &check->clean);
}

static bool check_message(Check *check, Py_ssize_t row, Reader message, int depth) {
    if (depth > MAX_DEPTH || row < 0 || row >= check->count) return false;
    const uint16_t *fields = check->rows + row * MAX_FIELDS;
    int special = fields[0] & ~HAS_HIGHER_FIELDS;
    if (special == KEY_VALUE && left(&message) <= check->whole_bytes &&
        is_text_attribute(check, message))
        return true;
    bool is_large = left(&message) > check->whole_bytes || depth < check->sliced_levels;
    uint32_t seen = 0;
    while (message.at < message.end) {
        uint32_t number;
        uint64_t value;
        const uint8_t *fixed;
        Reader part;
        int type;
        if (is_large && check->parts_left-- == 0) return false;
        if (!read_tag(&message, &number, &type)) return false;
        uint16_t entry = number < MAX_FIELDS ? fields[number] : UNKNOWN;
        int kind = entry & ((1 << KIND_BITS) - 1);
        if (kind == OTHER || (number >= MAX_FIELDS && fields[0] & HAS_HIGHER_FIELDS)) return false;
        switch (type) {
        case VARINT:
            if (kind != UNKNOWN && kind != NUMBER && kind != NUMBERS) return false;
            if (!read_varint(&message, 64, &value)) return false;
            break;
        case FIXED64:
            if (kind != UNKNOWN && kind != DOUBLE && kind != NUMBER64 && kind != NUMBERS64)
                return false;
            if (!read_fixed(&message, 8, &fixed)) return false;
            if (kind == DOUBLE && !is_finite64(fixed)) check->clean = false;
            break;
        case FIXED32:
            if (kind != UNKNOWN && kind != NUMBER32 && kind != NUMBERS32) return false;
            if (!read_fixed(&message, 4, &fixed)) return false;
            break;
        case LENGTH:
            if (!read_bytes(&message, &part)) return false;
            if (kind == TEXT) {
                if (!read_text(part, check->limit, &check->clean)) return false;
            } else if (kind == MESSAGE) {
                if (!check_message(check, entry >> KIND_BITS, part, depth + 1)) return false;
            } else if (kind >= NUMBERS) {
                if (!check_packed(kind, part)) return false;
            } else if (kind != UNKNOWN && kind != BYTES) {
                return false;
            }
            if (special == SPAN && (number <= 2 || number == 4) && !is_good_id(number, part))
                check->clean = false;
            break;
        default:
            return false;
        }
        if (kind != UNKNOWN) seen |= 1u << number;
    }
    /* An attribute without a value, and a span without ids. */
    if ((special == ANY_VALUE && !seen) || (special == KEY_VALUE && !(seen & 1u << 2)) ||
        (special == SPAN && (seen & 6) != 6))
        check->clean = false;
    return true;
}

PyObject *survey(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "survey(schema, data, whole_bytes, max_parts)");
        return NULL;
    }
    if (!PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "a schema is bytes");
        return NULL;
    }
    Py_ssize_t whole_bytes = PyLong_AsSsize_t(args[2]);
    Py_ssize_t max_parts = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred()) return NULL;
    if (whole_bytes < 0 || max_parts < 0) {
        PyErr_SetString(PyExc_ValueError, "bounds are 0 or above");
        return NULL;
    }
    Py_buffer data;
    if (PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    Check check = {
        .rows = (const uint16_t *)(const void *)PyBytes_AS_STRING(args[0]),
        .count = PyBytes_GET_SIZE(args[0]) / (Py_ssize_t)(MAX_FIELDS * sizeof(uint16_t)),
        .clean = true,
        .limit = (const uint8_t *)data.buf + data.len,
        .whole_bytes = (uint64_t)whole_bytes,
        .parts_left = (uint64_t)max_parts,
    };
    if ((uint64_t)data.len > check.whole_bytes) check.sliced_levels = SLICED_LEVELS;
    Reader message = {data.buf, check.limit};
    int answer = NOT_SURE;
    if (check_message(&check, 0, message, 0)) answer = check.clean ? CLEAN : VALID;
    PyBuffer_Release(&data);
    return PyLong_FromLong(answer);
}
