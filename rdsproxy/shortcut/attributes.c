/* Where our types keep their attributes. They have __slots__, so each attribute is at a fixed place in its object. */

#include "twins.h"
#include <structmember.h>

#define SLOT_DESCRIBED(type, name) {type, #name},
static const struct { int type; const char *name; } described[] = { SLOTS(SLOT_DESCRIBED) };

PyTypeObject *types[TYPES];
Py_ssize_t offsets[SLOTS_COUNTED];

int
put_number(PyObject *object, int slot, long value)
{
    PyObject *boxed = PyLong_FromLong(value);

    if (boxed == NULL)
        return -1;
    put(object, slot, boxed);
    return 0;
}

static int
find_slot(int slot)
{
    PyTypeObject *type = types[described[slot].type];
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)type, described[slot].name);
    PyMemberDef *member = NULL;

    if (descriptor == NULL)
        return -1;
    if (Py_TYPE(descriptor) == &PyMemberDescr_Type)
        member = ((PyMemberDescrObject *)descriptor)->d_member;
    if (member != NULL && member->type == T_OBJECT_EX)
        offsets[slot] = member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s.%s is no slot", type->tp_name, described[slot].name);
    Py_DECREF(descriptor);
    return PyErr_Occurred() ? -1 : 0;
}

/* Take the types, for good. */
int
find_slots(PyObject *taken)
{
    int each;

    if (PyTuple_GET_SIZE(taken) != TYPES) {
        PyErr_Format(PyExc_TypeError, "the twins take %d types", TYPES);
        return -1;
    }
    for (each = 0; each < TYPES; each++) {
        if (!PyType_Check(PyTuple_GET_ITEM(taken, each))) {
            PyErr_Format(PyExc_TypeError, "not a type: %R", PyTuple_GET_ITEM(taken, each));
            return -1;
        }
        types[each] = (PyTypeObject *)Py_NewRef(PyTuple_GET_ITEM(taken, each));
    }
    for (each = 0; each < SLOTS_COUNTED; each++) {
        if (find_slot(each) < 0)
            return -1;
    }
    return 0;
}
