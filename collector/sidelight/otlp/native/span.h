/* A serialised span that was walked once. */
#ifndef SIDELIGHT_SPAN_H
#define SIDELIGHT_SPAN_H

#include "reader.h"

#define MAX_ATTRIBUTES 256

/* Fields of OTLP's messages, opentelemetry-proto 1.x: of a span, of a value, of a status. */
enum { TRACE_ID = 1, SPAN_ID, TRACE_STATE, PARENT_SPAN_ID, NAME, KIND, START, END, ATTRIBUTES,
       DROPPED_ATTRIBUTES, EVENTS, DROPPED_EVENTS, LINKS, DROPPED_LINKS, STATUS, FLAGS };
enum { STRING = 1, BOOLEAN, INTEGER, DOUBLE, ARRAY, MAP, RAW };
enum { STATUS_MESSAGE = 2, STATUS_CODE = 3, ERROR = 2 };

/* Where an attribute is in its span. `name` and `value` are whole fields, with their tags. */
typedef struct {
    uint32_t start, name, value, end;
} Attribute;

/* What a span holds beside its attributes; what is not there is empty or 0. */
typedef struct {
    Reader trace_id, span_id, parent_span_id, name;
    uint64_t kind, start, end;
    uint32_t attributes_start, attributes_end;
    char is_error, has_events, may_have_empty;
} Head;

typedef struct {
    PyObject_VAR_HEAD
    PyObject *item;  /* keeps the bytes that `head` points to */
    PyObject *shape;
    Head head;
    Attribute attributes[];
} WalkedSpan;

/* The one field of a value; false where there is none, more than one, or one of no known kind. */
bool read_value(Reader value, uint32_t *number, Reader *part);

/* values.c: the methods of a walked span, and what it has under protobuf's names. */
extern PyMethodDef span_methods[];
extern PyGetSetDef span_facts[];

#endif
