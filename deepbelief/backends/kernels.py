"""CUDA sources of the fused operations, as text: they compile in tests on any machine with a compiler.

Each has its NumPy twin in `numpy_backend`, which is its definition.
"""

SIGMOID = r"""
template <typename T>
__global__ void sigmoid(T* x, const T* bias, const long long n, const int columns) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    T z = x[i] + (bias ? bias[i % columns] : T(0));
    x[i] = T(1) / (T(1) + exp(-z));
}
"""

MOMENTUM_STEP = r"""
template <typename T>
__global__ void momentum_step(T* w, T* velocity, const T* grad, const T rate, const T momentum, const T decay,
                              const int nesterov, const long long n) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    T step = rate * (grad[i] + decay * w[i]);
    T v = momentum * velocity[i] - step;
    velocity[i] = v;
    w[i] += nesterov ? momentum * v - step : v;
}
"""

BERNOULLI = r"""
template <typename T>
__global__ void bernoulli(const T* p, T* out, const long long n) {
    // `out` holds uniform draws and is replaced by 0 or 1.
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) out[i] = out[i] < p[i] ? T(1) : T(0);
}
"""

SOURCE = SIGMOID + MOMENTUM_STEP + BERNOULLI
NAMES = tuple(f"{kernel}<{t}>" for kernel in ("sigmoid", "momentum_step", "bernoulli") for t in ("float", "double"))
