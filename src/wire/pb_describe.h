/* Descriptors of protobuf files, made from their text: what gRPC reflection tells its clients. Reads the part
 * of proto3 that our own files use - messages, fields with and without `optional` or `repeated`, maps,
 * oneofs, enums, services; no nested types, no options, no comments, no oneof behind an optional field - and
 * is given trusted text only: what it cannot read is a bug of the file (ASSERT). */
#pragma once
#include "base/codec.h"

struct pb_file {
    const char *name; /* as imported: `restate/common.proto` */
    struct slice text;
};
/* A FileDescriptorProto of files[i]; types of the other files are found among `files`. */
void pb_describe(const struct pb_file *files, size_t n, size_t i, struct writer *w);
/* The file that declares a message, an enum, a service or a method by its full name, or n. */
size_t pb_find_symbol(const struct pb_file *files, size_t n, struct slice symbol);
/* The file of that name, or n. */
size_t pb_find_file(const struct pb_file *files, size_t n, struct slice name);
/* Calls back for every file that files[i] imports. */
void pb_imports(const struct pb_file *files, size_t n, size_t i, void (*visit)(void *ctx, size_t imported),
                void *ctx);
