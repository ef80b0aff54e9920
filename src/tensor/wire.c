/* wire.c - numbers as files hold them. Whatever a float is, it becomes a real; whole numbers become
   bytes or int32 where every value fits. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files hold little-endian numbers");

enum { PIECE = 1024 }; /* numbers converted at a time */

size_t wire_size(wire type) {
  static const unsigned char sizes[WIRE_COUNT] = {
      [WIRE_F16] = 2, [WIRE_BF16] = 2, [WIRE_F32] = 4, [WIRE_F64] = 8, [WIRE_BOOL] = 1,
      [WIRE_U8] = 1,  [WIRE_I8] = 1,   [WIRE_I16] = 2, [WIRE_U16] = 2, [WIRE_I32] = 4,
      [WIRE_U32] = 4, [WIRE_I64] = 8,  [WIRE_U64] = 8};
  return sizes[type];
}

orr_dtype wire_dtype(wire type) {
  if (type <= WIRE_F64) return ORR_REAL;
  return type == WIRE_BOOL || type == WIRE_U8 ? ORR_BYTE : ORR_INT;
}

wire wire_of(orr_dtype dtype) {
  if (dtype == ORR_REAL) return sizeof(orr_real) == 8 ? WIRE_F64 : WIRE_F32;
  return dtype == ORR_INT ? WIRE_I32 : WIRE_U8;
}

/* IEEE 754 half: 1 sign, 5 exponent, 10 fraction bits. */
static double half_value(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double size = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                : exponent == 0 ? ldexp(fraction, -24)
                                : ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -size : size;
}

/* bfloat16: the upper half of a float32. */
static double bfloat_value(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return (double)value;
}

#define LOAD(Type)                       \
  do {                                   \
    Type value;                          \
    memcpy(&value, bytes, sizeof value); \
    return (double)value;                \
  } while (0)

static double float_at(wire type, const char *bytes) {
  uint16_t half;
  switch (type) {
  case WIRE_F16: memcpy(&half, bytes, 2); return half_value(half);
  case WIRE_BF16: memcpy(&half, bytes, 2); return bfloat_value(half);
  case WIRE_F64: LOAD(double);
  default: LOAD(float);
  }
}

/* Values past int64 come out as ones that do not fit either. */
static int64_t whole_at(wire type, const char *bytes) {
  int64_t value = 0;
  memcpy(&value, bytes, wire_size(type));
  switch (type) {
  case WIRE_I8: return (int8_t)value;
  case WIRE_I16: return (int16_t)value;
  case WIRE_I32: return (int32_t)value;
  case WIRE_U64: return value < 0 ? INT64_MAX : value;
  default: return value;
  }
}

static orr_status convert_piece(source *from, wire type, const char *bytes, int64_t n,
                                int64_t first, orr_tensor *x) {
  size_t size = wire_size(type);
  for (int64_t i = 0; i < n; i++) {
    if (x->dtype == ORR_REAL) {
      ((orr_real *)orr_tensor_data(x))[first + i] =
          (orr_real)float_at(type, bytes + (size_t)i * size);
      continue;
    }
    int64_t value = whole_at(type, bytes + (size_t)i * size);
    if (value < INT32_MIN || value > INT32_MAX)
      return engine_fail(from->engine, ORR_NUMBER, "%s: whole number %lld is past int32",
                         from->label, (long long)(first + i) + 1);
    if (x->dtype == ORR_INT) ((int32_t *)orr_tensor_data(x))[first + i] = (int32_t)value;
    else ((uint8_t *)orr_tensor_data(x))[first + i] = (uint8_t)value;
  }
  return ORR_OK;
}

orr_status wire_read(source *from, size_t offset, wire type, orr_tensor *x) {
  size_t size = wire_size(type);
  if (wire_of(x->dtype) == type)
    return source_read(from, offset, orr_tensor_data(x), (size_t)x->count * size);
  char piece[PIECE * 8];
  for (int64_t first = 0; first < x->count; first += PIECE) {
    int64_t n = x->count - first < PIECE ? x->count - first : PIECE;
    orr_status status = source_read(from, offset + (size_t)first * size, piece, (size_t)n * size);
    if (!status) status = convert_piece(from, type, piece, n, first, x);
    if (status) return status;
  }
  return ORR_OK;
}
