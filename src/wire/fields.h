/* fields.h - the kinds of field that messages and records are made of.
 *
 * A message is a macro AL_FIELDS_<NAME>(U8, U16, U32, U64, ID, STR, BYTES) that calls one of its
 * parameters per field, in wire order: U32(name, "meaning"). Expanding it with different parameters
 * gives the struct, the encoder, the decoder, the tests' random values and the documentation.
 *
 *   U8 … U64  little-endian integers
 *   ID        16 bytes
 *   STR       one length byte, then that many bytes of text
 *   BYTES     four length bytes, then that many bytes
 *
 * Behind the last field a body may carry optional fields {u16 tag, u16 length, bytes}; a reader
 * skips tags that it does not know. */
#ifndef AL_WIRE_FIELDS_H
#define AL_WIRE_FIELDS_H

#include "base/bytes.h"
#include "base/id.h"

#define AL_DECLARE_U8(name, doc)    uint8_t name;
#define AL_DECLARE_U16(name, doc)   uint16_t name;
#define AL_DECLARE_U32(name, doc)   uint32_t name;
#define AL_DECLARE_U64(name, doc)   uint64_t name;
#define AL_DECLARE_ID(name, doc)    struct al_id name;
#define AL_DECLARE_STR(name, doc)   struct al_str name;
#define AL_DECLARE_BYTES(name, doc) struct al_str name;

#define AL_DECLARE_FIELDS(fields)                                                        \
    fields(AL_DECLARE_U8, AL_DECLARE_U16, AL_DECLARE_U32, AL_DECLARE_U64, AL_DECLARE_ID, \
           AL_DECLARE_STR, AL_DECLARE_BYTES)

/* Size of a body on the wire. */
#define AL_SIZE_U8(name, doc)    size += 1;
#define AL_SIZE_U16(name, doc)   size += 2;
#define AL_SIZE_U32(name, doc)   size += 4;
#define AL_SIZE_U64(name, doc)   size += 8;
#define AL_SIZE_ID(name, doc)    size += 16;
#define AL_SIZE_STR(name, doc)   size += 1 + (m->name.n < 255 ? m->name.n : 255);
#define AL_SIZE_BYTES(name, doc) size += 4 + (size_t)m->name.n;

#define AL_SIZE_FIELDS(fields)                                                         \
    fields(AL_SIZE_U8, AL_SIZE_U16, AL_SIZE_U32, AL_SIZE_U64, AL_SIZE_ID, AL_SIZE_STR, \
           AL_SIZE_BYTES)

/* Encoding at uint8_t *out; a text longer than 255 bytes is cut there (callers check before). */
#define AL_ENCODE_U8(name, doc)  *out++ = m->name;
#define AL_ENCODE_U16(name, doc) al_put16(out, m->name), out += 2;
#define AL_ENCODE_U32(name, doc) al_put32(out, m->name), out += 4;
#define AL_ENCODE_U64(name, doc) al_put64(out, m->name), out += 8;
#define AL_ENCODE_ID(name, doc)  memcpy(out, m->name.b, 16), out += 16;
#define AL_ENCODE_STR(name, doc)                           \
    *out++ = (uint8_t)(m->name.n < 255 ? m->name.n : 255); \
    if (m->name.n)                                         \
        memcpy(out, m->name.p, out[-1]), out += out[-1];
#define AL_ENCODE_BYTES(name, doc)      \
    al_put32(out, m->name.n), out += 4; \
    if (m->name.n)                      \
        memcpy(out, m->name.p, m->name.n), out += m->name.n;

#define AL_ENCODE_FIELDS(fields)                                                                   \
    fields(AL_ENCODE_U8, AL_ENCODE_U16, AL_ENCODE_U32, AL_ENCODE_U64, AL_ENCODE_ID, AL_ENCODE_STR, \
           AL_ENCODE_BYTES)

/* Decoding from [in, end); leaves the function with -AL_E_PROTOCOL when the body is cut short. */
#define AL_DECODE_NEED(bytes)                 \
    if ((size_t)(end - in) < (size_t)(bytes)) \
        return -AL_E_PROTOCOL;
#define AL_DECODE_U8(name, doc)  AL_DECODE_NEED(1) m->name = *in++;
#define AL_DECODE_U16(name, doc) AL_DECODE_NEED(2) m->name = al_get16(in), in += 2;
#define AL_DECODE_U32(name, doc) AL_DECODE_NEED(4) m->name = al_get32(in), in += 4;
#define AL_DECODE_U64(name, doc) AL_DECODE_NEED(8) m->name = al_get64(in), in += 8;
#define AL_DECODE_ID(name, doc)  AL_DECODE_NEED(16) memcpy(m->name.b, in, 16), in += 16;
#define AL_DECODE_STR(name, doc)                                                            \
    AL_DECODE_NEED(1) AL_DECODE_NEED(1 + (size_t)in[0]) m->name = al_str_of(in + 1, in[0]); \
    in += 1 + m->name.n;
#define AL_DECODE_BYTES(name, doc)                                                      \
    AL_DECODE_NEED(4)                                                                   \
    AL_DECODE_NEED(4 + (size_t)al_get32(in)) m->name = al_str_of(in + 4, al_get32(in)); \
    in += 4 + m->name.n;

#define AL_DECODE_FIELDS(fields)                                                                   \
    fields(AL_DECODE_U8, AL_DECODE_U16, AL_DECODE_U32, AL_DECODE_U64, AL_DECODE_ID, AL_DECODE_STR, \
           AL_DECODE_BYTES)

/* Checks the optional fields behind a body: 0 or -AL_E_PROTOCOL. */
int al_wire_check_optional(const uint8_t *in, const uint8_t *end);

#endif
