/* The module sidelight.otlp._wire; otlp/wire.py says what its functions do. */
#include "reader.h"

static PyMethodDef functions[] = {
    {"survey", (PyCFunction)(void (*)(void))survey, METH_FASTCALL, NULL},
    {"walk", walk, METH_O, NULL},
    {"attribute", (PyCFunction)(void (*)(void))attribute, METH_FASTCALL, NULL},
    {"kin", (PyCFunction)(void (*)(void))kin, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_wire", .m_size = -1, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__wire(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module && add_span_type(module) < 0) Py_CLEAR(module);
    return module;
}
