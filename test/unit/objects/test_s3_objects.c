/* The S3 store against a server of our own that verifies every signature (test/s3/fake_s3.py): the contract
 * of object stores, pages, parts, what failures mean, where credentials come from, that closing breaks off.
 */
#include <signal.h>
#include <sys/wait.h>

#include "base/time.h"
#include "objects/s3_objects.h"
#include "unit/objects/objects_fixture.h"

#define KEY    "test-key"
#define SECRET "test/secret+"

struct s3_world {
    struct world w;
    pid_t pid;
    int stdin_fd;
    char endpoint[64];
};

/* `options` are given to the server; it ends when its standard input is closed. */
static void start_server(struct s3_world *s, const char *options)
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        char command[256];
        snprintf(command, sizeof(command), "exec python3 test/s3/fake_s3.py %s", options);
        unsetenv("LD_PRELOAD");
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    s->stdin_fd = in[1];
    char line[64] = "";
    FILE *f = fdopen(out[0], "r");
    unsigned port;
    assert_non_null(fgets(line, sizeof(line), f));
    assert_int_equal(sscanf(line, "listening on %u", &port), 1);
    fclose(f);
    snprintf(s->endpoint, sizeof(s->endpoint), "http://127.0.0.1:%u", port);
}

static struct s3_objects_config configuration(struct s3_world *s)
{
    return (struct s3_objects_config){
        .bucket = "bucket",
        .endpoint = s->endpoint,
        .allow_http = true,
        .credentials = {.access_key_id = KEY, .secret_access_key = SECRET},
    };
}

static void open_store(struct s3_world *s, const struct s3_objects_config *config)
{
    struct job_runner_deferred *r = xcalloc(1, sizeof(*r));
    job_runner_deferred_init(r, &s->w.sim.env);
    struct err err = {0};
    enum rc rc = s3_objects_new(&s->w.sim.env, &r->base, config, &s->w.store, &err);
    assert_int_equal(rc, RC_OK);
    s->w.closed = false;
}

static void close_store(struct s3_world *s)
{
    object_store_close(s->w.store, on_closed, &s->w);
    sim_env_advance(&s->w.sim, 1000);
    assert_true(s->w.closed);
}

static void begin(struct s3_world *s, const char *options)
{
    memset(s, 0, sizeof(*s));
    sim_env_init(&s->w.sim, 3);
    start_server(s, options);
    struct s3_objects_config config = configuration(s);
    open_store(s, &config);
}

static void end(struct s3_world *s)
{
    close_world(&s->w);
    close(s->stdin_fd);
    assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* Talk to the server beside S3. */
static void control(struct s3_world *s, const char *path, const char *body)
{
    struct aws_http *http = aws_http_new();
    char url[128];
    snprintf(url, sizeof(url), "%s%s", s->endpoint, path);
    struct aws_http_request r = {.method = "POST",
                                 .url = url,
                                 .body = slice_cstr(body),
                                 .max_bytes = 1000,
                                 .connect_ms = 1000,
                                 .stall_ms = 5000};
    struct aws_http_response response;
    struct err err = {0};
    assert_int_equal(aws_http_run(http, &r, &response, &err), RC_OK);
    assert_int_equal(response.status, 200);
    bytes_unref(&response.body);
    aws_http_free(http);
}

static void keeps_the_contract(void **state)
{
    struct s3_world s;
    begin(&s, "--page 2");
    contract(&s.w);
    end(&s);
}

static void keys_and_prefixes_are_encoded(void **state)
{
    struct s3_world s;
    begin(&s, "--page 1 --token t0+/=");
    close_store(&s);
    struct s3_objects_config config = configuration(&s);
    config.credentials.session_token = "t0+/=";
    char endpoint[80];
    snprintf(endpoint, sizeof(endpoint), "%s/", s.endpoint);
    config.endpoint = endpoint;
    open_store(&s, &config);
    static const char *const keys[] = {"p/a b", "p/a&b=c", "p/a+b", "p/a%20b", "p/\xc3\xa4~"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_int_equal(put(&s.w, keys[i], keys[i], OBJECT_ABSENT, NULL), RC_OK);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_int_equal(expect(&s.w, keys[i], keys[i], NULL), RC_OK);
    expect_list(&s.w, "p/a", 4, (const char *const[]){"p/a b", "p/a%20b", "p/a&b=c", "p/a+b"});
    expect_list(&s.w, "p/a&", 1, (const char *const[]){"p/a&b=c"});
    end(&s);
}

static struct bytes large_body(size_t n)
{
    struct buf *b = buf_new(n);
    for (size_t i = 0; i < n; i++)
        b->data[i] = (uint8_t)(i * 2654435761u >> 13);
    return bytes_take_buf(b, 0, n);
}

static void put_large(struct s3_world *s, struct bytes body, enum rc expected)
{
    struct call c = {.op = {.body = body, .condition = OBJECT_ANY}};
    submit(&s->w, &c, OBJECT_PUT, "large");
    await_call(&s->w, &c);
    assert_int_equal(c.op.rc, expected);
    object_op_release(&c.op);
}

static void large_objects_go_in_parts(void **state)
{
    struct s3_world s;
    begin(&s, "--min-part 1000000");
    close_store(&s);
    struct s3_objects_config config = configuration(&s);
    config.part_size = 1000000;
    open_store(&s, &config);
    struct bytes body = large_body(3500001);
    put_large(&s, body, RC_OK);
    struct call c = {.op = {.max_bytes = body.len}};
    submit(&s.w, &c, OBJECT_GET, "large");
    await_call(&s.w, &c);
    assert_int_equal(c.op.rc, RC_OK);
    assert_true(slice_eq(bytes_slice(c.op.content), bytes_slice(body)));
    object_op_release(&c.op);
    assert_int_equal(delete (&s.w, "large"), RC_OK);
    control(&s, "/_fault",
            "{\"method\":\"PUT\",\"match\":\"large\",\"skip\":1,\"action\":\"500 InternalError\"}");
    put_large(&s, body, RC_UNAVAILABLE);
    assert_int_equal(expect(&s.w, "large", NULL, NULL), RC_NOT_FOUND);
    control(&s, "/_fault", "{\"method\":\"POST\",\"match\":\"large\",\"skip\":1,\"action\":\"lose\"}");
    put_large(&s, body, RC_TIMEOUT); /* it is there, but we cannot know */
    submit(&s.w, &c, OBJECT_GET, "large");
    await_call(&s.w, &c);
    assert_int_equal(c.op.rc, RC_OK);
    object_op_release(&c.op);
    bytes_unref(&body);
    end(&s);
}

/* ---- failures ---- */

static enum rc put_faulty(struct s3_world *s, const char *action, enum object_condition condition)
{
    char fault[128], etag[OBJECT_ETAG_MAX] = "\"none\"";
    snprintf(fault, sizeof(fault), "{\"method\":\"PUT\",\"action\":\"%s\"}", action);
    control(s, "/_fault", fault);
    return put(&s->w, "f", "x", condition, etag);
}

static void failures_mean_what_they_say(void **state)
{
    struct s3_world s;
    begin(&s, "");
    assert_int_equal(put_faulty(&s, "503 SlowDown", OBJECT_ANY), RC_UNAVAILABLE);
    assert_int_equal(put_faulty(&s, "429 TooManyRequests", OBJECT_ABSENT), RC_UNAVAILABLE);
    assert_int_equal(put_faulty(&s, "500 InternalError", OBJECT_ABSENT), RC_TIMEOUT);
    assert_int_equal(put_faulty(&s, "409 ConditionalRequestConflict", OBJECT_ABSENT), RC_CONFLICT);
    assert_int_equal(put_faulty(&s, "501 NotImplemented", OBJECT_ABSENT), RC_INVALID);
    assert_int_equal(put_faulty(&s, "507 XMinioStorageFull", OBJECT_ANY), RC_NO_SPACE);
    assert_int_equal(put_faulty(&s, "403 AccessDenied", OBJECT_ANY), RC_INVALID);
    assert_int_equal(put_faulty(&s, "400 ExpiredToken", OBJECT_ANY), RC_UNAVAILABLE);
    assert_int_equal(put_faulty(&s, "drop", OBJECT_ABSENT), RC_TIMEOUT);
    assert_int_equal(expect(&s.w, "f", NULL, NULL), RC_NOT_FOUND);
    assert_int_equal(put_faulty(&s, "lose", OBJECT_ABSENT), RC_TIMEOUT);
    assert_int_equal(expect(&s.w, "f", "x", NULL), RC_OK);
    /* A conditional write on a kept connection is never repeated by curl: the answer would be a conflict with
     * itself. */
    assert_int_equal(delete (&s.w, "f"), RC_OK);
    assert_int_equal(put_faulty(&s, "lose", OBJECT_ABSENT), RC_TIMEOUT);
    assert_int_equal(delete (&s.w, "f"), RC_OK);
    control(&s, "/_fault", "{\"method\":\"GET\",\"action\":\"500 InternalError\"}");
    assert_int_equal(expect(&s.w, "f", NULL, NULL), RC_UNAVAILABLE);
    control(&s, "/_fault", "{\"method\":\"GET\",\"action\":\"503 SlowDown\"}");
    struct call c = {0};
    submit(&s.w, &c, OBJECT_LIST, "");
    await_call(&s.w, &c);
    assert_int_equal(c.op.rc, RC_UNAVAILABLE);
    end(&s);
}

static void expect_refusal(struct s3_world *s, const struct s3_objects_config *config, const char *part)
{
    close_store(s);
    open_store(s, config);
    for (int kind = OBJECT_GET; kind <= OBJECT_LIST; kind++) {
        struct call c = {.op = {.body = bytes_static(SLICE_LIT("x")), .condition = OBJECT_ABSENT}};
        submit(&s->w, &c, (enum object_op_kind)kind, "k");
        await_call(&s->w, &c);
        assert_int_equal(c.op.rc, RC_INVALID);
        if (!strstr(c.op.err.msg, part))
            fail_msg("expected '%s' in '%s'", part, c.op.err.msg);
        object_op_release(&c.op);
    }
}

static void refusals_are_explained(void **state)
{
    struct s3_world s;
    begin(&s, "--region eu-central-1");
    struct s3_objects_config config = configuration(&s);
    expect_refusal(&s, &config, "is in region 'eu-central-1', not in 'us-east-1'");
    config.region = "eu-central-1";
    config.bucket = "other";
    expect_refusal(&s, &config, "there is no bucket 'other'");
    config.bucket = "bucket";
    config.credentials.secret_access_key = "wrong";
    expect_refusal(&s, &config, "secret access key is wrong");
    config.credentials.access_key_id = "wrong";
    expect_refusal(&s, &config, "does not know the AWS access key id");
    config.credentials = (struct aws_credentials_config){.access_key_id = KEY};
    expect_refusal(&s, &config, "one of access key id and secret is missing");
    config.credentials = (struct aws_credentials_config){.profile = "no-such-profile"};
    expect_refusal(&s, &config, "there is no AWS profile 'no-such-profile'");
    end(&s);
}

static void unreachable_is_certainly_not_done(void **state)
{
    struct s3_world s;
    begin(&s, "");
    close_store(&s);
    struct s3_objects_config config = configuration(&s);
    config.endpoint = "http://127.0.0.1:1";
    open_store(&s, &config);
    assert_int_equal(put(&s.w, "f", "x", OBJECT_ABSENT, NULL), RC_UNAVAILABLE);
    close_store(&s);
    config.endpoint = s.endpoint;
    config.stall_timeout_ms = 1000;
    open_store(&s, &config);
    assert_int_equal(put_faulty(&s, "hang", OBJECT_ABSENT), RC_TIMEOUT);
    end(&s);
}

/* The certificate is checked; AWS_CA_BUNDLE says whom to believe. */
static void tls_is_verified(void **state)
{
    char dir[] = "/tmp/objects-test-XXXXXX", options[96], command[400];
    assert_non_null(mkdtemp(dir));
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext "
             "subjectAltName=IP:127.0.0.1 "
             "-keyout %s/key -out %s/cert 2>%s/log && cat %s/key %s/cert >%s/both",
             dir, dir, dir, dir, dir, dir);
    assert_int_equal(system(command), 0);
    struct s3_world s;
    snprintf(options, sizeof(options), "--tls %s/both", dir);
    begin(&s, options);
    close_store(&s);
    memmove(s.endpoint + 5, s.endpoint + 4, strlen(s.endpoint + 4) + 1);
    s.endpoint[4] = 's';
    struct s3_objects_config config = configuration(&s);
    config.allow_http = false;
    expect_refusal((open_store(&s, &config), &s), &config, "certificate");
    close_store(&s);
    snprintf(command, sizeof(command), "%s/cert", dir);
    setenv("AWS_CA_BUNDLE", command, 1);
    open_store(&s, &config);
    contract(&s.w);
    unsetenv("AWS_CA_BUNDLE");
    end(&s);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void endpoints_are_checked(void **state)
{
    struct sim_env sim;
    sim_env_init(&sim, 1);
    struct s3_objects_config config = {.bucket = "bucket"};
    static const struct {
        const char *endpoint;
        bool allow_http;
    } bad[] = {
        {"ftp://x", true}, {"http://x", false}, {"https://", true}, {"x:9000", true}, {"http://u:p@x", true}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        struct object_store *store;
        config.endpoint = bad[i].endpoint;
        config.allow_http = bad[i].allow_http;
        struct job_runner_deferred *r = xcalloc(1, sizeof(*r));
        job_runner_deferred_init(r, &sim.env);
        assert_int_equal(s3_objects_new(&sim.env, &r->base, &config, &store, &err), RC_INVALID);
        assert_non_null(strstr(err.msg, bad[i].endpoint));
    }
    sim_env_free(&sim);
}

/* ---- credentials ---- */

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void try_credentials(struct s3_world *s, const struct s3_objects_config *config)
{
    open_store(s, config);
    assert_int_equal(put(&s->w, "c", "x", OBJECT_ANY, NULL), RC_OK);
    close_store(s);
}

static void credentials_are_found(void **state)
{
    struct s3_world s;
    begin(&s, "--token token1 --region r-1");
    close_store(&s);
    char dir[] = "/tmp/objects-test-XXXXXX", path[64], url[128];
    assert_non_null(mkdtemp(dir));
    struct s3_objects_config config = configuration(&s);
    config.credentials = (struct aws_credentials_config){0};
    setenv("AWS_REGION", "r-1", 1);

    setenv("AWS_ACCESS_KEY_ID", KEY, 1);
    setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
    setenv("AWS_SESSION_TOKEN", "token1", 1);
    config.endpoint = NULL; /* and the place */
    config.allow_http = false;
    setenv("AWS_ENDPOINT_URL", s.endpoint, 1);
    setenv("AWS_ALLOW_HTTP", "true", 1);
    try_credentials(&s, &config);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
    unsetenv("AWS_REGION");

    snprintf(path, sizeof(path), "%s/file", dir);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    write_text(path, "[default]\naws_access_key_id=" KEY "\naws_secret_access_key=" SECRET
                     "\naws_session_token=token1\nregion=r-1\n[p]\naws_access_key_id=x\n");
    try_credentials(&s, &config);
    setenv("AWS_REGION", "r-1", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    setenv("AWS_CONFIG_FILE", "/nonexistent", 1);

    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.endpoint, 1);
    try_credentials(&s, &config);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    expect_refusal((open_store(&s, &config), &s), &config, "there are no AWS credentials");
    close_store(&s);

    snprintf(url, sizeof(url), "%s/container", s.endpoint);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token", 1);
    try_credentials(&s, &config);

    write_text(path, "web/token+\n");
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path, 1);
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
    setenv("AWS_ENDPOINT_URL_STS", s.endpoint, 1);
    try_credentials(&s, &config);

    open_store(&s, &config);
    end(&s);
    unlink(path);
    rmdir(dir);
}

/* ---- closing ---- */

struct hanging {
    struct object_op op;
    struct loop *loop;
    struct env_timer timer;
    struct object_store *store;
    bool done;
};

static void hang_ended(struct object_op *op)
{
    CONTAINER_OF(op, struct hanging, op)->done = true;
}

static void store_closed(void *ctx)
{
    loop_stop(((struct hanging *)ctx)->loop);
}

static void close_now(struct env_timer *t)
{
    struct hanging *h = CONTAINER_OF(t, struct hanging, timer);
    object_store_close(h->store, store_closed, h);
}

static void closing_breaks_off_what_hangs(void **state)
{
    struct s3_world s;
    begin(&s, "");
    control(&s, "/_fault", "{\"method\":\"GET\",\"action\":\"hang\"}");
    struct s3_objects_config config = configuration(&s);
    struct loop *loop = loop_new("test");
    struct workers *workers = workers_new("objects", 2);
    struct hanging h = {.loop = loop};
    struct err err = {0};
    assert_int_equal(
        s3_objects_new(loop_env(loop), workers_runner_new(workers, loop), &config, &h.store, &err), RC_OK);
    h.op = (struct object_op){.kind = OBJECT_GET, .key = "k", .max_bytes = 10, .done = hang_ended};
    object_submit(h.store, &h.op);
    env_timer_init(&h.timer, close_now);
    env_timer_arm(loop_env(loop), &h.timer, 300);
    uint64_t before = os_mono_ns();
    loop_run(loop);
    assert_true(os_mono_ns() - before < 10ull * 1000000000);
    assert_true(h.done);
    assert_int_equal(h.op.rc, RC_CANCELED);
    workers_free(workers);
    loop_free(loop);
    end(&s);
}

int main(void)
{
    static const char *const names[] = {"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
                                        "http_proxy",  "HTTP_PROXY", "AWS_ACCESS_KEY_ID",  "all_proxy"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    setenv("HOME", "/nonexistent", 1);
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_contract),
        cmocka_unit_test(keys_and_prefixes_are_encoded),
        cmocka_unit_test(large_objects_go_in_parts),
        cmocka_unit_test(failures_mean_what_they_say),
        cmocka_unit_test(refusals_are_explained),
        cmocka_unit_test(unreachable_is_certainly_not_done),
        cmocka_unit_test(tls_is_verified),
        cmocka_unit_test(endpoints_are_checked),
        cmocka_unit_test(closing_breaks_off_what_hangs),
        cmocka_unit_test(credentials_are_found), /* the last: it changes the environment */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
