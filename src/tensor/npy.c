/* npy.c - NumPy's .npy (NEP 1): "\x93NUMPY", version, the header's length, a Python dictionary of
   dtype, order and shape, then the numbers. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "tensor/tensor.h"

/* The dictionary of an array of 8 axes takes under 300 bytes; more is no plain array. */
enum { LONGEST_HEADER = 1 << 16, PREAMBLE = 10 };

typedef struct header {
  wire type;
  bool fortran;
  int axes;
  int64_t shape[ORR_AXES];
  size_t data; /* offset of the numbers */
} header;

static orr_status fail(source *from, const char *what, const char *detail) {
  return engine_fail(from->engine, ORR_FORMAT, "%s: not a .npy file that can be read: %s%.60s",
                     from->label, what, detail);
}

static bool find_type(const char *name, wire *type) {
  static const struct {
    const char *name;
    wire type;
  } types[] = {{"<f2", WIRE_F16}, {"<f4", WIRE_F32}, {"<f8", WIRE_F64}, {"|b1", WIRE_BOOL},
               {"|u1", WIRE_U8},  {"|i1", WIRE_I8},  {"<i2", WIRE_I16}, {"<u2", WIRE_U16},
               {"<i4", WIRE_I32}, {"<u4", WIRE_U32}, {"<i8", WIRE_I64}, {"<u8", WIRE_U64}};
  for (size_t i = 0; i < COUNT(types); i++) {
    if (strcmp(types[i].name, name) != 0) continue;
    *type = types[i].type;
    return true;
  }
  return false;
}

static const char *skip(const char *at) { return at + strspn(at, " \t\r\n"); }

/* Past `text` when it comes next, else NULL. */
static const char *expect(const char *at, const char *text) {
  at = skip(at);
  size_t n = strlen(text);
  return strncmp(at, text, n) == 0 ? at + n : NULL;
}

/* A quoted string into `text`; NULL when it is none, or too long. */
static const char *read_quoted(const char *at, char *text, size_t size) {
  at = skip(at);
  char quote = *at++;
  if (quote != '\'' && quote != '"') return NULL;
  size_t n = 0;
  while (*at && *at != quote && n + 1 < size) text[n++] = *at++;
  text[n] = 0;
  return *at == quote ? at + 1 : NULL;
}

/* "(3, 4)", "(3,)" or "()". */
static const char *read_shape(const char *at, header *h) {
  at = expect(at, "(");
  while (at && !expect(at, ")")) {
    int64_t size = 0;
    int digits = 0;
    at = skip(at);
    for (; *at >= '0' && *at <= '9'; at++, digits++)
      if (__builtin_mul_overflow(size, 10, &size) || __builtin_add_overflow(size, *at - '0', &size))
        return NULL;
    if (digits == 0 || h->axes == ORR_AXES) return NULL;
    h->shape[h->axes++] = size;
    if (expect(at, ",")) at = expect(at, ",");
    else if (!expect(at, ")")) return NULL;
  }
  return at ? expect(at, ")") : NULL;
}

static orr_status read_dictionary(source *from, const char *text, header *h) {
  char key[32], type[32];
  int seen = 0;
  const char *at = expect(text, "{");
  while (at && !expect(at, "}")) {
    at = read_quoted(at, key, sizeof key);
    if (at) at = expect(at, ":");
    if (!at) break;
    if (strcmp(key, "descr") == 0) {
      at = read_quoted(at, type, sizeof type);
      if (!at) return fail(from, "records are not read", "");
      if (!find_type(type, &h->type)) return fail(from, "no tensor can hold its dtype ", type);
      seen |= 1;
    } else if (strcmp(key, "fortran_order") == 0) {
      h->fortran = expect(at, "True") != NULL;
      at = h->fortran ? expect(at, "True") : expect(at, "False");
      seen |= 2;
    } else if (strcmp(key, "shape") == 0) {
      h->axes = 0;
      at = read_shape(at, h);
      if (!at) return fail(from, "a bad shape, or more than 8 axes", "");
      seen |= 4;
    } else {
      return fail(from, "unknown header entry ", key);
    }
    if (at && !expect(at, "}")) at = expect(at, ",");
  }
  return at && seen == 7 ? ORR_OK : fail(from, "damaged header", "");
}

static orr_status read_header(source *from, header *h) {
  unsigned char start[12];
  orr_status status = source_read(from, 0, start, PREAMBLE);
  if (status) return status;
  if (memcmp(start, "\x93NUMPY", 6) != 0)
    return fail(from, "it does not start with \\x93NUMPY", "");
  size_t length = start[8] | (size_t)start[9] << 8, at = PREAMBLE;
  if (start[6] < 1 || start[6] > 3) return fail(from, "unknown version", "");
  if (start[6] > 1) {
    if ((status = source_read(from, 8, start + 8, 4))) return status;
    length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    at = 12;
  }
  if (length > LONGEST_HEADER) return fail(from, "its header is too long", "");
  char *text = engine_new(from->engine, length + 1, 1);
  if (!text) return from->engine->status;
  status = source_read(from, at, text, length);
  text[length] = 0;
  if (!status && strlen(text) != length) status = fail(from, "damaged header", "");
  if (!status) status = read_dictionary(from, text, h);
  engine_free_memory(from->engine, text);
  h->data = at + length;
  return status;
}

/* Checks that the file holds exactly the numbers of the shape. */
static orr_status check_size(source *from, const header *h) {
  int64_t count;
  size_t bytes;
  if (!shape_count(from->engine, h->axes, h->shape, &count))
    return engine_fail_in(from->engine, "%s", from->label);
  if (!multiply_sizes((size_t)count, wire_size(h->type), &bytes) || bytes > SIZE_MAX - h->data)
    return fail(from, "its shape is too large", "");
  if (h->data + bytes == from->size) return ORR_OK;
  return engine_fail(from->engine, ORR_FORMAT,
                     "%s: %s: its header promises %zu bytes, the file has %zu", from->label,
                     h->data + bytes > from->size ? "truncated" : "too long", h->data + bytes,
                     from->size);
}

static orr_tensor *read_numbers(source *from, header *h) {
  int64_t shape[ORR_AXES];
  int reversed[ORR_AXES];
  for (int i = 0; i < h->axes; i++) {
    shape[i] = h->shape[h->fortran ? h->axes - 1 - i : i];
    reversed[i] = h->axes - 1 - i;
  }
  orr_tensor *x = tensor_new_raw(from->engine, wire_dtype(h->type), h->axes, shape);
  if (x && wire_read(from, h->data, h->type, x)) {
    orr_tensor_free(x);
    return NULL;
  }
  if (!x || !h->fortran) return x;
  orr_tensor *turned = orr_tensor_transpose(x, reversed), *y = orr_tensor_contiguous(turned);
  orr_tensor_free(x);
  orr_tensor_free(turned);
  return y;
}

orr_tensor *orr_npy_read(orr_engine *engine, const char *path) {
  source from;
  header h = {0};
  if (source_open(&from, engine, path)) return NULL;
  orr_tensor *x = NULL;
  if (!read_header(&from, &h) && !check_size(&from, &h)) x = read_numbers(&from, &h);
  source_close(&from);
  return x;
}

orr_status orr_npy_write(const orr_tensor *x, const char *path) {
  char text[512];
  unsigned char start[PREAMBLE] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  if (!x) return ORR_ARGUMENT;
  const char *type = x->dtype == ORR_INT     ? "<i4"
                     : x->dtype == ORR_BYTE  ? "|u1"
                     : sizeof(orr_real) == 8 ? "<f8"
                                             : "<f4";
  int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
  for (int i = 0; i < x->axes; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, "%lld,%s", (long long)x->shape[i],
                  i + 1 < x->axes ? " " : "");
  n += snprintf(text + n, sizeof text - (size_t)n, "), }");
  while ((n + PREAMBLE + 1) % 64) text[n++] = ' '; /* the numbers start at a multiple of 64 */
  text[n++] = '\n';
  start[8] = (unsigned char)(n & 255), start[9] = (unsigned char)(n >> 8);
  orr_tensor *packed = orr_tensor_contiguous(x);
  file_writer *file = packed ? file_create(x->engine, path) : NULL;
  orr_status status = x->engine->status;
  if (file) {
    file_write(file, start, sizeof start);
    file_write(file, text, (size_t)n);
    file_write(file, tensor_const_data(packed), (size_t)packed->count * dtype_size(packed->dtype));
    status = file_commit(file);
  }
  orr_tensor_free(packed);
  return status;
}
