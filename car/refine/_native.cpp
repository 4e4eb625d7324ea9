// The Python module: buffers in and out, everything else elsewhere.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_native.h"
#include "_native_simd.h"

#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>

namespace car {

static std::atomic<bool> avx2_allowed{true};

void allow_avx2(bool allowed) { avx2_allowed = allowed; }

bool has_avx2() {
#if CAR_VERSIONS
    return avx2_allowed && __builtin_cpu_supports("avx2");
#else
    return false;
#endif
}

} // namespace car

namespace {

constexpr const char* LATTICE = "car.refine._native.Lattice";

// A Python error is set already.
struct Raised {};

// A contiguous buffer of floats of a known length, held while this lives.
class Floats {
public:
    Floats(PyObject* object, std::int64_t size, bool writable) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object, &view_, flags)) throw Raised();
        const bool floats = view_.itemsize == sizeof(float) && view_.format && view_.format[0] == 'f';
        if (floats && view_.len == size * Py_ssize_t(sizeof(float))) return;
        PyBuffer_Release(&view_);
        PyErr_Format(PyExc_ValueError, "Expected %lld float32 values.", static_cast<long long>(size));
        throw Raised();
    }
    Floats(const Floats&) = delete;
    ~Floats() { PyBuffer_Release(&view_); }
    float* data() const { return static_cast<float*>(view_.buf); }

private:
    Py_buffer view_;
};

// Run `work` without the interpreter's lock, and `work` alone.
template <class Work> void unlocked(const Work& work) {
    std::exception_ptr failure;
    Py_BEGIN_ALLOW_THREADS;
    try {
        work();
    } catch (...) {
        failure = std::current_exception();
    }
    Py_END_ALLOW_THREADS;
    if (failure) std::rethrow_exception(failure);
}

// What `work` returns; C++ exceptions become Python's.
template <class Work> PyObject* guarded(const Work& work) {
    try {
        return work();
    } catch (const Raised&) {
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

[[noreturn]] void refuse(const char* message) {
    PyErr_SetString(PyExc_ValueError, message);
    throw Raised();
}

car::Lattice& lattice_of(PyObject* capsule) {
    void* lattice = PyCapsule_GetPointer(capsule, LATTICE);
    if (!lattice) throw Raised();
    return *static_cast<car::Lattice*>(lattice);
}

void destroy(PyObject* capsule) { delete static_cast<car::Lattice*>(PyCapsule_GetPointer(capsule, LATTICE)); }

std::vector<std::int64_t> integers(PyObject* tuple) {
    std::vector<std::int64_t> values;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
        values.push_back(PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, i)));
        if (PyErr_Occurred()) throw Raised();
    }
    return values;
}

PyObject* build(PyObject*, PyObject* args) {
    return guarded([&]() -> PyObject* {
        PyObject* sets;
        int symmetric, threads;
        if (!PyArg_ParseTuple(args, "O!pi", &PyTuple_Type, &sets, &symmetric, &threads)) throw Raised();
        std::vector<std::unique_ptr<Floats>> held;
        std::vector<car::Features> features;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sets); ++i) {
            PyObject *values, *low, *strides;
            long long points, cells;
            if (!PyArg_ParseTuple(PyTuple_GET_ITEM(sets, i), "OLO!O!L", &values, &points, &PyTuple_Type, &low,
                                  &PyTuple_Type, &strides, &cells))
                throw Raised();
            const Py_ssize_t dimensions = PyTuple_GET_SIZE(low);
            if (points < 1 || dimensions < 1 || dimensions > car::MOST_DIMENSIONS ||
                PyTuple_GET_SIZE(strides) != dimensions || points > INT32_MAX / (dimensions + 1))
                refuse("Expected points and dimensions that fit a lattice.");
            held.push_back(std::make_unique<Floats>(values, points * dimensions, false));
            features.push_back({held.back()->data(), points, int(dimensions), integers(low), integers(strides),
                                std::uint64_t(cells)});
        }
        std::vector<car::Lattice> lattices;
        unlocked([&] {
            lattices = car::build(features, threads);
            if (symmetric) car::normalize(lattices, threads);
        });
        PyObject* found = PyTuple_New(lattices.size());
        for (std::size_t i = 0; found && i < lattices.size(); ++i) {
            auto own = std::make_unique<car::Lattice>(std::move(lattices[i]));
            PyObject* capsule = PyCapsule_New(own.get(), LATTICE, destroy);
            if (!capsule) {
                Py_DECREF(found);
                return nullptr;
            }
            own.release();
            PyTuple_SET_ITEM(found, i, capsule);
        }
        return found;
    });
}

PyObject* vertices(PyObject*, PyObject* capsule) {
    return guarded([&] { return PyLong_FromLongLong(lattice_of(capsule).vertices); });
}

PyObject* filter(PyObject*, PyObject* args) {
    return guarded([&]() -> PyObject* {
        PyObject *capsule, *values, *filtered;
        long long channels;
        int threads;
        if (!PyArg_ParseTuple(args, "OOOLi", &capsule, &values, &filtered, &channels, &threads)) throw Raised();
        const car::Lattice& lattice = lattice_of(capsule);
        const Floats in(values, lattice.points * channels, false), out(filtered, lattice.points * channels, true);
        unlocked([&] { car::filter(lattice, in.data(), out.data(), channels, threads); });
        Py_RETURN_NONE;
    });
}

PyObject* mean_field(PyObject*, PyObject* args) {
    return guarded([&]() -> PyObject* {
        PyObject *terms, *energies, *q;
        long long sets, labels, iterations;
        int threads;
        if (!PyArg_ParseTuple(args, "O!OOLLLi", &PyTuple_Type, &terms, &energies, &q, &sets, &labels, &iterations,
                              &threads))
            throw Raised();
        std::vector<car::Kernel> kernels;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(terms); ++i) {
            PyObject* capsule;
            float weight;
            if (!PyArg_ParseTuple(PyTuple_GET_ITEM(terms, i), "Of", &capsule, &weight)) throw Raised();
            kernels.push_back({&lattice_of(capsule), weight});
            if (!kernels[i].lattice->symmetric || kernels[i].lattice->points != kernels[0].lattice->points)
                refuse("Expected symmetric lattices of the same points.");
        }
        if (kernels.empty() || sets < 1 || labels < 2 || iterations < 0)
            refuse("Expected a lattice, a set and two labels at least.");
        const long long points = kernels[0].lattice->points;
        if (sets > INT32_MAX || labels > INT32_MAX || sets * labels > INT64_MAX / 8 / points)
            refuse("Expected sets of labels that fit memory.");
        const Floats in(energies, points * sets * labels, false), out(q, points * sets * labels, true);
        unlocked([&] { car::mean_field(kernels, in.data(), out.data(), sets, labels, iterations, threads); });
        Py_RETURN_NONE;
    });
}

PyObject* allow_avx2(PyObject*, PyObject* allowed) {
    const int truth = PyObject_IsTrue(allowed);
    if (truth < 0) return nullptr;
    car::allow_avx2(truth);
    return PyBool_FromLong(car::has_avx2());
}

PyMethodDef methods[] = {
    {"build", build, METH_VARARGS,
     "build(((features, points, low, strides, cells), ...), symmetric, threads): lattices of float32 features."},
    {"vertices", vertices, METH_O, "vertices(lattice): how many there are."},
    {"filter", filter, METH_VARARGS, "filter(lattice, values, filtered, channels, threads): (points, channels) float32."},
    {"mean_field", mean_field, METH_VARARGS,
     "mean_field(((lattice, weight), ...), energies, q, sets, labels, iterations, threads): (sets, labels, "
     "points) float32, on symmetric lattices."},
    {"allow_avx2", allow_avx2, METH_O, "allow_avx2(allowed): whether AVX2 is used from now on."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "The dense CRF for CPUs.", -1, methods,
                      nullptr, nullptr, nullptr, nullptr};

} // namespace

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&module); }
