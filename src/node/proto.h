/* The files of src/node/proto as they are built into the server (CMakeLists.txt), under the names by which
 * they import each other. */
#pragma once
#include "wire/pb_describe.h"

#define PROTO_FILES_MAX 32
extern const struct pb_file proto_files[];
extern const size_t proto_n_files;
