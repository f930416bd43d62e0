/* Reads protobuf's wire format. Every function checks the bounds of what it reads.
 *
 * "The spec" in these files is https://protobuf.dev/programming-guides/encoding/.
 */
#ifndef SIDELIGHT_READER_H
#define SIDELIGHT_READER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Wire types, from the spec's table. Groups (3 and 4) are not used in OTLP. */
enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

/* How deep messages may be in each other. Protobuf's own limit is 100, and is left to it. */
#define MAX_DEPTH 64

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} Reader;

static inline size_t left(const Reader *reader) { return (size_t)(reader->end - reader->at); }

/* A number of at most `bits` bits. False where it ends too early or is too long: the spec allows
 * ten bytes, of which the last holds one bit. */
static inline bool read_varint(Reader *reader, int bits, uint64_t *number) {
    if (reader->at < reader->end && *reader->at < 0x80) {
        *number = *reader->at++;
        return true;
    }
    uint64_t result = 0;
    for (int shift = 0; shift < bits; shift += 7) {
        if (reader->at == reader->end) return false;
        uint64_t byte = *reader->at++;
        uint64_t part = byte & 0x7f;
        if (bits - shift < 7 && part >> (bits - shift)) return false;
        result |= part << shift;
        if (byte < 0x80) {
            *number = result;
            return true;
        }
    }
    return false;
}

/* A field's number and wire type. The spec: tags are numbers of 32 bits, fields count from 1. */
static inline bool read_tag(Reader *reader, uint32_t *number, int *type) {
    uint64_t tag;
    if (!read_varint(reader, 32, &tag) || tag < 8) return false;
    *number = (uint32_t)(tag >> 3);
    *type = (int)(tag & 7);
    return true;
}

/* What a length stands before: the bytes of a text or of a message. */
static inline bool read_bytes(Reader *reader, Reader *part) {
    uint64_t length;
    if (!read_varint(reader, 32, &length) || length > left(reader)) return false;
    part->at = reader->at;
    part->end = reader->at += length;
    return true;
}

/* A text or message with a tag of one byte: the spec lets a tag have more, but no encoder does. */
static inline bool read_field(Reader *reader, int number, Reader *part) {
    if (reader->at == reader->end || *reader->at != (number << 3 | LENGTH)) return false;
    reader->at++;
    return read_bytes(reader, part);
}

/* The bytes of a number that is always as long. */
static inline bool read_fixed(Reader *reader, size_t size, const uint8_t **bytes) {
    if (left(reader) < size) return false;
    *bytes = reader->at;
    reader->at += size;
    return true;
}

/* The spec: fixed numbers have the lowest byte first, whatever the machine's order is. */
static inline uint64_t little_endian64(const uint8_t *bytes) {
    uint64_t number;
    memcpy(&number, bytes, sizeof number);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    number = __builtin_bswap64(number);
#endif
    return number;
}

/* JSON has no number for a double whose exponent is all ones: infinities and NaN. */
static inline bool is_finite64(const uint8_t *bytes) {
    return (bytes[7] & 0x7f) != 0x7f || (bytes[6] & 0xf0) != 0xf0;
}

/* Whether a text is UTF-8; `clean` becomes false where it holds what `repair` replaces. Bytes up to
 * `limit` can be read. */
bool read_text(Reader text, const uint8_t *limit, bool *clean);

/* Of each module for itself: interpreters of one process have one each. */
typedef struct {
    PyTypeObject *span_type;
} State;

/* What the module has. */
PyObject *survey(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *walk(PyObject *module, PyObject *item);
PyObject *attribute(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *kin(PyObject *module, PyObject *const *args, Py_ssize_t count);
int add_span_type(PyObject *module);

#endif
