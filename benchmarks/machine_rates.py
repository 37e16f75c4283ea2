"""What this machine can do at best: ``python -m benchmarks.machine_rates``.

Rates of NumPy's single-precision matrix product (sgemm) on one core and on all, of one with the thin shape that FM's
relatives have (16 columns into 64), and of copying an array larger than the caches. ``least_seconds`` holds a figure of
``benchmarks.speed`` against what the very products of that model take here.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minictr.training.threads import n_cores, one_blas_thread

from .timing import timed

# Operations that a thread is given at once, half a millisecond of work or more, as handing it over costs up to a tenth
# of that; but not more than so many small products.
AT_ONCE, MOST_PRODUCTS = 5e7, 50


def rate(amount, make_call, n_threads, seconds):
    """``amount`` (of one thread's call) a second, a call of its own on each thread at once; the best of 5 medians."""
    calls = [make_call() for _ in range(n_threads)]
    with one_blas_thread(), ThreadPoolExecutor(n_threads) as pool:
        def all_at_once(i):
            list(pool.map(lambda call: call(), calls))

        all_at_once(0)
        return n_threads * amount / min(timed(all_at_once, seconds / 5)[0] for _ in range(5))


def product(first, second, times=1):
    """A function that makes a call that computes the product of two arrays of these shapes, so many times."""
    def make_call():
        a, b = np.ones(first, np.float32), np.ones(second, np.float32)
        out = a @ b
        return lambda: [np.matmul(a, b, out=out) for _ in range(times)]
    return make_call


def copy(n):
    """A function that makes a call that copies n numbers of 4 bytes."""
    def make_call():
        a, b = np.ones(n, np.float32), np.empty(n, np.float32)
        return lambda: np.copyto(b, a)
    return make_call


def machine_rates(seconds=0.5):
    """Dict of rates: GFLOP/s and GB/s (bytes read plus bytes written) of one core and of all cores."""
    cores, n = n_cores(), 2 ** 25
    return {
        "sgemm GFLOP/s, one core": rate(2 * 1024 ** 3 / 1e9, product((1024, 1024), (1024, 1024)), 1, seconds),
        "sgemm GFLOP/s": rate(2 * 1024 ** 3 / 1e9, product((1024, 1024), (1024, 1024)), cores, seconds),
        "thin sgemm GFLOP/s": rate(2 * 8192 * 16 * 64 / 1e9, product((8192, 16), (16, 64)), cores, seconds),
        "copy GB/s, one core": rate(2 * 4 * n / 1e9, copy(n), 1, seconds),
        "copy GB/s": rate(2 * 4 * n / 1e9, copy(n), cores, seconds),
    }


def least_seconds(products, moved, N, B, copy_rate, seconds=0.1):
    """What N rows take here at least: their products, each at the rate of its shape, and then their bytes.

    Parameters
    ----------
    products : list of work.Product, for each row.   moved : bytes of all rows.   B : rows computed at once, or in
    parts; the cores share them.   copy_rate : of all cores, in GB/s.   seconds : about, to measure each product's rate.

    Returns: (seconds of the products, seconds of the copies).
    """
    cores, of_products, rates = n_cores(), 0.0, {}
    parts = {max(1, B // cores // n) for n in (1, 4, 16)}         # which of them suits the caches best, differs
    for one in products:
        if one not in rates:
            rates[one] = max(rate_of_product(one, rows, cores, seconds / len(parts)) for rows in parts)
        of_products += one.operations * N / rates[one]
    return of_products, moved / (1e9 * copy_rate)


def rate_of_product(one, rows, cores, seconds):
    """Operations a second of a work.Product for so many rows, on all cores at once."""
    times = max(1, min(MOST_PRODUCTS, round(AT_ONCE / (one.operations * rows))))
    return rate(one.operations * rows * times, product(*one.factors(rows), times), cores, seconds)


if __name__ == "__main__":
    print(json.dumps({name: round(value, 1) for name, value in machine_rates().items()}, indent=1))
