/* Implementation of objects/aws_http.h. */
#include "objects/aws_http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define HANDLES_MAX 16u /* kept with their connections */
#define ERROR_MAX   ((size_t)64 << 10)

struct aws_http {
    pthread_mutex_t lock; /* of what follows */
    CURL *idle[HANDLES_MAX];
    unsigned n_idle;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void)
{
    ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

struct aws_http *aws_http_new(void)
{
    pthread_once(&curl_once, curl_start);
    struct aws_http *h = xcalloc(1, sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void aws_http_free(struct aws_http *h)
{
    for (unsigned i = 0; i < h->n_idle; i++)
        curl_easy_cleanup(h->idle[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static CURL *take_handle(struct aws_http *h)
{
    pthread_mutex_lock(&h->lock);
    CURL *c = h->n_idle ? h->idle[--h->n_idle] : NULL;
    pthread_mutex_unlock(&h->lock);
    if (!c)
        c = curl_easy_init();
    ASSERT_MSG(c, "curl cannot be initialised");
    return c;
}

static void give_back(struct aws_http *h, CURL *c)
{
    curl_easy_reset(c);
    pthread_mutex_lock(&h->lock);
    bool keep = h->n_idle < HANDLES_MAX;
    if (keep)
        h->idle[h->n_idle++] = c;
    pthread_mutex_unlock(&h->lock);
    if (!keep)
        curl_easy_cleanup(c);
}

/* ---- callbacks ---- */

struct transfer {
    CURL *curl;
    const struct aws_http_request *request;
    struct aws_http_response *response;
    struct writer body;
    bool too_large;
};

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    size_t len = size * n;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->response->status);
    bool good = t->response->status < 300;
    if (good && len > t->request->max_bytes - t->body.len) {
        t->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (t->body.len == 0) {
        curl_off_t expected = 0;
        curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &expected);
        if (good && expected > 0)
            writer_init(&t->body, MIN((size_t)expected, t->request->max_bytes));
    }
    write_raw(&t->body, data, good ? len : MIN(len, ERROR_MAX - MIN(t->body.len, ERROR_MAX)));
    return len;
}

static void keep_header(struct slice line, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    if (line.len <= n || strncasecmp((const char *)line.ptr, name, n) != 0 || line.ptr[n] != ':')
        return;
    struct slice v = slice_sub(line, n + 1, line.len - n - 1);
    while (v.len && strchr(" \t", v.ptr[0]))
        v = slice_sub(v, 1, v.len - 1);
    while (v.len && strchr(" \t\r\n", v.ptr[v.len - 1]))
        v.len--;
    if (v.len < cap)
        snprintf(out, cap, "%.*s", SLICE_FMT(v));
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    struct slice line = slice_make(data, size * n);
    keep_header(line, "etag", t->response->etag, sizeof(t->response->etag));
    keep_header(line, "x-amz-bucket-region", t->response->region, sizeof(t->response->region));
    return size * n;
}

static int on_progress(void *ctx, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total, curl_off_t ul)
{
    const struct transfer *t = ctx;
    return t->request->canceled && atomic_load(t->request->canceled);
}

/* ---- one request ---- */

static struct curl_slist *set_headers(const struct aws_http_request *r)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < r->n_headers; i++) {
        char *line = xasprintf("%s: %s", r->headers[i].name, r->headers[i].value);
        list = curl_slist_append(list, line);
        free(line);
    }
    /* What curl would add by itself and is not signed. */
    list = curl_slist_append(list, "Expect:");
    list = curl_slist_append(list, "Accept:");
    return curl_slist_append(list, "Content-Type:");
}

static void set_options(CURL *c, struct transfer *t, struct curl_slist *headers, char *message)
{
    const struct aws_http_request *r = t->request;
    const char *ca = getenv("AWS_CA_BUNDLE");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    if (strcmp(r->method, "GET") != 0) {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body.ptr ? (const char *)r->body.ptr : "");
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    }
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, r->fresh ? 1L : 0L);
    if (r->direct)
        curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    if (ca && *ca)
        curl_easy_setopt(c, CURLOPT_CAINFO, ca);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_ms);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)MAX(r->stall_ms / 1000, 1u));
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
}

static enum rc rc_of(CURLcode code, CURL *c)
{
    curl_off_t ready_us = 0; /* 0: the request was not sent */
    curl_easy_getinfo(c, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
    switch (code) {
    case CURLE_OK:
        return RC_OK;
    case CURLE_ABORTED_BY_CALLBACK:
        return RC_CANCELED;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return RC_INVALID;
    default:
        return ready_us == 0 ? RC_UNAVAILABLE : RC_TIMEOUT;
    }
}

enum rc aws_http_run(struct aws_http *h, const struct aws_http_request *r, struct aws_http_response *out,
                     struct err *err)
{
    *out = (struct aws_http_response){0};
    CURL *c = take_handle(h);
    char message[CURL_ERROR_SIZE] = "";
    struct transfer t = {.curl = c, .request = r, .response = out};
    struct curl_slist *headers = set_headers(r);
    set_options(c, &t, headers, message);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &out->status);
    enum rc rc = t.too_large ? RC_TOO_LARGE : rc_of(code, c);
    give_back(h, c);
    curl_slist_free_all(headers);
    if (rc == RC_OK) {
        out->body = writer_take(&t.body);
        return RC_OK;
    }
    writer_free(&t.body);
    if (rc == RC_TOO_LARGE)
        return err_set(err, rc, "%.200s is larger than the %zu bytes that are expected", r->url,
                       r->max_bytes);
    return err_set(err, rc, "%s %.200s: %.160s", r->method, r->url,
                   rc == RC_CANCELED ? "broken off"
                   : message[0]      ? message
                                     : curl_easy_strerror(code));
}
