"""CUDA sources of the fused operations, as text: they compile in tests on any machine with a compiler.

Each has its NumPy twin in `numpy_backend`, which is its definition.
"""

SIGMOID = r"""
template <typename T>
__global__ void sigmoid(T* x, const T* bias, const long long n, const int period) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    T z = x[i] + (bias ? bias[i % period] : T(0));
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

ADAM_STEP = r"""
template <typename T>
__global__ void adam_step(T* w, T* mean, T* square, const T* grad, const T rate, const T beta1, const T beta2,
                          const T epsilon, const T decay, const long long n) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    T g = grad[i] + decay * w[i];
    T m = beta1 * mean[i] + (T(1) - beta1) * g;
    T s = beta2 * square[i] + (T(1) - beta2) * g * g;
    mean[i] = m;
    square[i] = s;
    w[i] -= rate * m / (sqrt(s) + epsilon);
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

SOURCE = SIGMOID + MOMENTUM_STEP + ADAM_STEP + BERNOULLI
KERNELS = ("sigmoid", "momentum_step", "adam_step", "bernoulli")
NAMES = tuple(f"{kernel}<{t}>" for kernel in KERNELS for t in ("float", "double"))
