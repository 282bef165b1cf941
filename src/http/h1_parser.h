/* The HTTP/1 parser library behind one small face: llhttp where the distribution has it, else http_parser.
 * Only server_h1.c, client_h1.c and http.c may include this header. Private to http/. */
#pragma once
#include "base/bytes.h"

#if defined(__has_include) && __has_include(<llhttp.h>)
#define H1_LLHTTP 1
#include <llhttp.h>
typedef llhttp_t h1_parser;
typedef llhttp_settings_t h1_parser_settings;
#define H1_STATUS_MAP(XX) HTTP_STATUS_MAP(XX)
#else
#define H1_LLHTTP 0
#include <http_parser.h>
typedef http_parser h1_parser;
typedef http_parser_settings h1_parser_settings;
#define H1_STATUS_MAP(XX) HTTP_STATUS_MAP(XX)
#endif

enum h1_parse_result {
    H1_PARSED, /* everything was consumed */
    H1_PAUSED, /* a callback paused; *consumed says how far it went */
    H1_BROKEN  /* malformed, or a callback refused */
};

/* To be called once per process before the first parser is used: the library's own limit on header bytes goes
 * out of the way, ours (http_server_config) are checked in the callbacks. */
static inline void h1_parser_global_init(void)
{
#if !H1_LLHTTP
    http_parser_set_max_header_size(0x7fffffff);
#endif
}

/* `settings` must outlive the parser. */
static inline void h1_parser_start(h1_parser *p, bool is_request, const h1_parser_settings *settings,
                                   void *data)
{
#if H1_LLHTTP
    llhttp_init(p, is_request ? HTTP_REQUEST : HTTP_RESPONSE, settings);
    llhttp_set_lenient_chunked_length(p, 1);
#else
    http_parser_init(p, is_request ? HTTP_REQUEST : HTTP_RESPONSE);
    p->allow_chunked_length = 1;
#endif
    p->data = data;
}

static inline enum h1_parse_result h1_parser_run(h1_parser *p, const h1_parser_settings *settings,
                                                 struct slice in, size_t *consumed)
{
#if H1_LLHTTP
    (void)settings;
    llhttp_errno_t e = llhttp_execute(p, (const char *)in.ptr, in.len);
    if (e == HPE_OK) {
        *consumed = in.len;
        return H1_PARSED;
    }
    const char *pos = llhttp_get_error_pos(p);
    *consumed = pos ? (size_t)(pos - (const char *)in.ptr) : in.len;
    return e == HPE_PAUSED ? H1_PAUSED : H1_BROKEN;
#else
    *consumed = http_parser_execute(p, settings, (const char *)in.ptr, in.len);
    if (HTTP_PARSER_ERRNO(p) == HPE_OK)
        return *consumed == in.len ? H1_PARSED : H1_BROKEN;
    return HTTP_PARSER_ERRNO(p) == HPE_PAUSED ? H1_PAUSED : H1_BROKEN;
#endif
}

/* The peer sent EOF: completes a body that is delimited by it. False if the message is cut off. */
static inline bool h1_parser_eof(h1_parser *p, const h1_parser_settings *settings)
{
#if H1_LLHTTP
    (void)settings;
    return llhttp_finish(p) == HPE_OK;
#else
    http_parser_execute(p, settings, NULL, 0);
    return HTTP_PARSER_ERRNO(p) == HPE_OK || HTTP_PARSER_ERRNO(p) == HPE_PAUSED;
#endif
}

/* `return h1_parser_pause_here(p);` as the last statement of an on_message_complete callback. */
static inline int h1_parser_pause_here(h1_parser *p)
{
#if H1_LLHTTP
    (void)p;
    return HPE_PAUSED;
#else
    http_parser_pause(p, 1);
    return 0;
#endif
}

static inline void h1_parser_unpause(h1_parser *p)
{
#if H1_LLHTTP
    llhttp_resume(p);
#else
    http_parser_pause(p, 0);
#endif
}

/* Within on_headers_complete: an upgrade that was asked for is not taken, the message is parsed as usual. */
static inline void h1_parser_ignore_upgrade(h1_parser *p)
{
    p->upgrade = 0;
}

static inline bool h1_parser_keep_alive(h1_parser *p)
{
#if H1_LLHTTP
    return llhttp_should_keep_alive(p);
#else
    return http_should_keep_alive(p);
#endif
}

/* Within on_headers_complete: the body comes in chunks (chunked is the last transfer coding). */
static inline bool h1_parser_is_chunked(const h1_parser *p)
{
    return p->flags & F_CHUNKED;
}

static inline const char *h1_parser_method(h1_parser *p)
{
#if H1_LLHTTP
    return llhttp_method_name((llhttp_method_t)p->method);
#else
    return http_method_str((enum http_method)p->method);
#endif
}

static inline const char *h1_parser_error(h1_parser *p)
{
#if H1_LLHTTP
    return llhttp_errno_name(llhttp_get_errno(p)) + sizeof("HPE_") - 1;
#else
    return http_errno_description(HTTP_PARSER_ERRNO(p));
#endif
}
