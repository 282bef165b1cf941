/* The admin API on the HTTP server: `http_server_new(loop, &config, &admin_http_server_ops, admin)`. */
#pragma once
#include "admin/admin.h"
#include "http/server.h"

extern const struct http_server_ops admin_http_server_ops; /* ctx: struct admin */
