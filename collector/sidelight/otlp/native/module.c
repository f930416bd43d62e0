/* The module sidelight.otlp._wire; otlp/wire.py says what its functions do. */
#include "reader.h"

static PyMethodDef functions[] = {
    {"survey", (PyCFunction)(void (*)(void))survey, METH_FASTCALL, NULL},
    {"walk", walk, METH_O, NULL},
    {"attribute", (PyCFunction)(void (*)(void))attribute, METH_FASTCALL, NULL},
    {"kin", (PyCFunction)(void (*)(void))kin, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)add_span_type},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static int traverse(PyObject *module, visitproc visit, void *arg) {
    Py_VISIT(((State *)PyModule_GetState(module))->span_type);
    return 0;
}

/* Only with the module itself: as long as `walk` can be called, the type is there. */
static void release(void *module) {
    Py_CLEAR(((State *)PyModule_GetState(module))->span_type);
}

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_wire", .m_size = sizeof(State), .m_methods = functions,
    .m_slots = slots, .m_traverse = traverse, .m_free = release,
};

PyMODINIT_FUNC PyInit__wire(void) { return PyModuleDef_Init(&definition); }
