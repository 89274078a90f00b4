/* Makes the twins, of what it is given of Python's. */

#include "twins.h"

struct names names;
struct given given;
PyObject *zero, *one;

static PyMethodDef commands_twin = {"_commands", commands, METH_O, "See ClientConnection in frontend/connection.py."};
static PyMethodDef relayed_twin = {"_relay", relayed, METH_O, "See DatabaseConnection in backend/connection.py."};
static PyMethodDef granted_twin = {"granted", granted, METH_O, "See Relay in relay/relay.py."};

static PyObject *
twins(PyObject *module, PyObject *arguments)
{
    PyObject *taken;

    (void)module;
    if (zero != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the twins are made already");
        return NULL;
    }
#define GIVEN_PARSED(name) , &given.name
#define GIVEN_COUNTED(name) "O"
    if (!PyArg_ParseTuple(arguments, "O!" GIVEN(GIVEN_COUNTED), &PyTuple_Type, &taken GIVEN(GIVEN_PARSED)))
        return NULL;
    if (!PyTuple_Check(given.bounds)) {
        PyErr_SetString(PyExc_TypeError, "the bounds are no tuple");
        return NULL;
    }
    if (find_slots(taken) < 0)
        return NULL;
    /* For good, as the types. */
#define GIVEN_KEPT(name) Py_INCREF(given.name);
    GIVEN(GIVEN_KEPT)
    zero = PyLong_FromLong(FIRST);
    one = PyLong_FromLong(1);
    return Py_BuildValue("(NNN)", PyDescr_NewMethod(types[CLIENT], &commands_twin),
                         PyDescr_NewMethod(types[RELAY], &granted_twin),
                         PyDescr_NewMethod(types[CONNECTION], &relayed_twin));
}

static PyMethodDef methods[] = {
    {"twins", twins, METH_VARARGS, "See rdsproxy.shortcut."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_twins", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__twins(void)
{
#define NAME_INTERNED(name) \
    if ((names.name = PyUnicode_InternFromString(#name)) == NULL) \
        return NULL;
    NAMES(NAME_INTERNED)
    return PyModule_Create(&definition);
}
