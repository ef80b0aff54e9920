/* gemm.c - matrix products of any size for eager work, on OpenBLAS when it is safe.

   OpenBLAS's number of threads is one setting for the whole process. We need 1: with more, results
   change from run to run and its pool fights ours. So the first product sets it to 1, for a host
   that uses OpenBLAS itself too.

   Its flavours differ: called from several threads, "pthread" is right, "serial" gave wrong numbers
   in 13 of 6,000 runs, and "openmp" hangs after fork. A lock around the serial flavour would have
   to be shared by all engines of the process, a global; instead both of the latter are left alone
   and the plain loops below are used. They need no setting and no lock. */
#include <cblas.h>
#include <string.h>

#include "kernel/kernel.h"

enum { BLAS_PTHREAD = 1 }; /* openblas_get_parallel(): 0 serial, 1 pthread, 2 openmp */

static bool blas_is_safe(void) { return openblas_get_parallel() == BLAS_PTHREAD; }

static void plain_gemm(bool transpose_a, bool transpose_b, int m, int n, int k, const orr_real *a,
                       int lda, const orr_real *b, int ldb, bool accumulate, orr_real *c, int ldc) {
  size_t a_row = transpose_a ? 1 : (size_t)lda, a_column = transpose_a ? (size_t)lda : 1;
  size_t b_row = transpose_b ? 1 : (size_t)ldb, b_column = transpose_b ? (size_t)ldb : 1;
  for (int i = 0; i < m; i++) {
    orr_real *sum = c + (size_t)i * (size_t)ldc;
    if (!accumulate) memset(sum, 0, (size_t)n * sizeof *sum);
    for (int l = 0; l < k; l++) {
      orr_real left = a[(size_t)i * a_row + (size_t)l * a_column];
      const orr_real *right = b + (size_t)l * b_row;
      for (int j = 0; j < n; j++) sum[j] += left * right[(size_t)j * b_column];
    }
  }
}

static void blas_gemm(bool transpose_a, bool transpose_b, int m, int n, int k, const orr_real *a,
                      int lda, const orr_real *b, int ldb, bool accumulate, orr_real *c, int ldc) {
  if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
  orr_real keep = accumulate;
  CBLAS_TRANSPOSE left = transpose_a ? CblasTrans : CblasNoTrans;
  CBLAS_TRANSPOSE right = transpose_b ? CblasTrans : CblasNoTrans;
#ifdef ORR_DOUBLE
  cblas_dgemm(CblasRowMajor, left, right, m, n, k, 1, a, lda, b, ldb, keep, c, ldc);
#else
  cblas_sgemm(CblasRowMajor, left, right, m, n, k, 1, a, lda, b, ldb, keep, c, ldc);
#endif
}

void gemm(orr_engine *engine, bool transpose_a, bool transpose_b, int m, int n, int k,
          const orr_real *a, int lda, const orr_real *b, int ldb, bool accumulate, orr_real *c,
          int ldc) {
  (void)engine;
  if (m <= 0 || n <= 0) return;
  if (blas_is_safe() && k > 0)
    blas_gemm(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
  else plain_gemm(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
}
