/* The compiled twin of walk_python in walk.py, which states what it does. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *
walk(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    Py_ssize_t position, end, limit, walked = 0;
    long shift;

    (void)module;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "walk() takes buffer, position, end, shift, limit");
        return NULL;
    }
    position = PyLong_AsSsize_t(args[1]);
    end = PyLong_AsSsize_t(args[2]);
    shift = PyLong_AsLong(args[3]);
    limit = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], &view, (shift & 0xFF) ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return NULL;
    if (end > view.len)
        end = view.len;
    if (position >= 0) {
        unsigned char *bytes = view.buf;
        while (walked != limit && end - position > 4) {
            unsigned char *header = bytes + position;
            Py_ssize_t length = header[0] | header[1] << 8 | header[2] << 16;
            if (length > end - position - 4 || length == 0 || length == 0xFFFFFF || header[4] >= 0xFE)
                break;
            if (shift & 0xFF)
                header[3] = (unsigned char)(header[3] + shift);
            position += 4 + length;
            walked++;
        }
    }
    PyBuffer_Release(&view);
    return Py_BuildValue("nn", position, walked);
}

static PyMethodDef methods[] = {
    {"walk", (PyCFunction)(void (*)(void))walk, METH_FASTCALL, "See rdsproxy.protocol.walk."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_walk", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__walk(void)
{
    return PyModule_Create(&module);
}
