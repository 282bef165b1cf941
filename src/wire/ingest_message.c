/* Implementation of wire/ingest_message.h. */
#include "wire/ingest_message.h"

#include "wire/command.h"

#define INGEST_MESSAGE_VERSION 1

void ingest_message_encode(struct writer *w, const struct ingest_message *m)
{
    write_u8(w, INGEST_MESSAGE_VERSION);
    write_varint(w, m->id);
    write_varint(w, m->stream);
    write_u16le(w, m->source);
    write_u16le(w, m->destination);
}

bool ingest_message_decode(struct slice in, struct ingest_message *out)
{
    struct reader r = reader_make(in);
    *out = (struct ingest_message){0};
    uint8_t version = read_u8(&r);
    out->id = read_varint(&r);
    out->stream = read_varint(&r);
    out->source = read_u16le(&r);
    out->destination = read_u16le(&r);
    out->record = read_raw(&r, reader_left(&r));
    return !r.failed && version == INGEST_MESSAGE_VERSION && out->record.len >= RECORD_HEADER_SIZE;
}

void ingest_reply_encode(struct writer *w, const struct ingest_reply *r)
{
    write_u8(w, INGEST_MESSAGE_VERSION);
    write_varint(w, r->id);
    write_u8(w, r->committed);
}

bool ingest_reply_decode(struct slice in, struct ingest_reply *out)
{
    struct reader r = reader_make(in);
    uint8_t version = read_u8(&r);
    out->id = read_varint(&r);
    uint8_t committed = read_u8(&r);
    out->committed = committed == 1;
    return reader_done(&r) && version == INGEST_MESSAGE_VERSION && committed <= 1;
}
