/* The consumer's thread: a librdkafka client from start to failure, again and again, until it is told to
 * stop. */
#define _GNU_SOURCE /* pthread_setname_np */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "kafka/internal.h"

#define RESTART_MIN_MS  300u
#define RESTART_MAX_MS  2000u
#define SETTLED_MS      10000u /* a client that lived longer than this did not fail at once */
#define CONFIRM_WAIT_MS 1000u  /* when stopping: for what is on its way */
#define CLOSE_WAIT_MS   3000u  /* for the brokers to let us go */
#define TELL_AGAIN_MS   60000u
#define LAG_MS          1000u

uint64_t consumer_now_ms(void)
{
    return os_mono_ns() / 1000000;
}

void consumer_fail(struct consumer *c, const char *fmt, ...)
{
    char text[ERR_MESSAGE_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (c->failure.rc == RC_OK)
        err_set(&c->failure, RC_IO, "%s", text);
}

static void tell_failure(struct consumer *c)
{
    uint64_t now = consumer_now_ms();
    if (strcmp(c->told.text, c->failure.msg) == 0 && now - c->told.at_ms < TELL_AGAIN_MS)
        return;
    snprintf(c->told.text, sizeof(c->told.text), "%s", c->failure.msg);
    c->told.at_ms = now;
    LOG(LOG_WARN, TARGET, LOG_FIELDS({"restate.subscription.id", c->name}, {"topic", c->topic}),
        "The Kafka consumer failed and starts again: %s", c->failure.msg);
}

/* ---- the inbox ---- */

static void read_inbox(struct consumer *c)
{
    struct progress *list;
    size_t n;
    uint64_t count;
    if (read(c->wake, &count, sizeof(count)) < 0)
        count = 0; /* nothing to read */
    pthread_mutex_lock(&c->inbox.lock);
    list = c->inbox.progress.items;
    n = c->inbox.progress.len;
    c->inbox.progress.items = NULL;
    c->inbox.progress.len = c->inbox.progress.cap = 0;
    c->stop = c->inbox.stop;
    if (c->inbox.schema) {
        schema_unref(c->schema);
        c->schema = c->inbox.schema;
        c->defaults = c->inbox.defaults;
        c->inbox.schema = NULL;
    }
    pthread_mutex_unlock(&c->inbox.lock);
    for (size_t i = 0; i < n; i++)
        assignment_confirm(c, &list[i]);
    free(list);
}

static void wait_for_wake(struct consumer *c, int timeout_ms)
{
    struct pollfd p = {.fd = c->wake, .events = POLLIN};
    if (timeout_ms > 0)
        poll(&p, 1, timeout_ms);
}

/* ---- opening ---- */

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    const struct consumer *c = rd_kafka_opaque(rk);
    enum log_level l = level <= 4 ? LOG_WARN : level <= 6 ? LOG_INFO : LOG_DEBUG;
    LOG(l, TARGET, LOG_FIELDS({"restate.subscription.id", c->name}, {"facility", facility}), "librdkafka: %s",
        text);
}

/* Trouble with single brokers: librdkafka has logged it, and goes on trying. */
static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    const struct consumer *c = opaque;
    LOG(LOG_DEBUG, TARGET, LOG_FIELDS({"restate.subscription.id", c->name}), "librdkafka: %s", reason);
}

static rd_kafka_conf_t *new_conf(struct consumer *c)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < c->settings.properties.len; i++) {
        const struct schema_header *p = &c->settings.properties.items[i];
        if (rd_kafka_conf_set(conf, p->name, p->value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
            consumer_fail(c, "property '%.100s': %s", p->name, text);
            rd_kafka_conf_destroy(conf);
            return NULL;
        }
    }
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_rebalance_cb(conf, assignment_changed);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    return conf;
}

static void subscribe(struct consumer *c)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, c->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(c->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err)
        consumer_fail(c, "cannot subscribe to the topic '%s': %s", c->topic, rd_kafka_err2str(err));
}

static void open_client(struct consumer *c)
{
    char text[256];
    rd_kafka_conf_t *conf = new_conf(c);
    if (!conf)
        return;
    c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (!c->rk) {
        rd_kafka_conf_destroy(conf);
        consumer_fail(c, "%s", text);
        return;
    }
    uint64_t one = 1;
    rd_kafka_poll_set_consumer(c->rk);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(c->rk);
    rd_kafka_queue_io_event_enable(queue, c->wake, &one, sizeof(one));
    rd_kafka_queue_destroy(queue);
    subscribe(c);
}

/* ---- serving ---- */

static void serve_client(struct consumer *c)
{
    rd_kafka_message_t *m;
    while (c->failure.rc == RC_OK && (m = rd_kafka_consumer_poll(c->rk, 0)))
        reading_take(c, m);
    char text[256];
    if (rd_kafka_fatal_error(c->rk, text, sizeof(text)))
        consumer_fail(c, "%s", text);
}

static void run_client(struct consumer *c)
{
    while (c->failure.rc == RC_OK && !c->stop) {
        read_inbox(c);
        serve_client(c);
        int pause = reading_pass(c);
        if (consumer_now_ms() - c->lag_told_ms >= LAG_MS) {
            c->lag_told_ms = consumer_now_ms();
            assignment_tell_lag(c);
        }
        if (c->failure.rc == RC_OK && !c->stop)
            wait_for_wake(c, pause);
    }
}

/* ---- closing ---- */

/* What is known to be in the logs shall be committed with our leave. */
static void wait_for_confirmations(struct consumer *c)
{
    uint64_t until = consumer_now_ms() + CONFIRM_WAIT_MS;
    while (assignment_unconfirmed(c) > 0 && consumer_now_ms() < until) {
        wait_for_wake(c, 20);
        read_inbox(c);
    }
}

static void close_client(struct consumer *c)
{
    uint64_t until = consumer_now_ms() + CLOSE_WAIT_MS;
    if (!c->rk)
        return;
    if (c->stop)
        wait_for_confirmations(c);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(c->rk);
    rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
    rd_kafka_error_t *refused = rd_kafka_consumer_close_queue(c->rk, queue);
    while (!refused && !rd_kafka_consumer_closed(c->rk) && consumer_now_ms() < until) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, 20);
        if (m)
            rd_kafka_message_destroy(m);
    }
    bool closed = rd_kafka_consumer_closed(c->rk);
    rd_kafka_error_destroy(refused);
    rd_kafka_queue_destroy(queue);
    assignment_drop_all(c);
    rd_kafka_destroy_flags(c->rk, closed ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    c->rk = NULL;
}

static void pause_before_restart(struct consumer *c, uint64_t ms)
{
    uint64_t until = consumer_now_ms() + ms;
    for (uint64_t now = consumer_now_ms(); now < until && !c->stop; now = consumer_now_ms()) {
        wait_for_wake(c, (int)(until - now));
        read_inbox(c);
    }
}

void *consumer_thread(void *arg)
{
    struct consumer *c = arg;
    uint64_t pause = RESTART_MIN_MS;
    char labels[96];
    pthread_setname_np(pthread_self(), "kafka");
    snprintf(labels, sizeof(labels), "subscription=\"%s\"", c->name);
    c->blocked = metric_gauge("restate_kafka_ingress_blocked_partitions", labels,
                              "Topic partitions that wait because of a bad record or a missing target");
    c->skipped = metric_counter("restate_kafka_ingress_skipped_records_total", labels,
                                "Bad records that were skipped");
    while (!c->stop) {
        uint64_t begun = consumer_now_ms();
        open_client(c);
        run_client(c);
        bool failed = c->failure.rc != RC_OK;
        if (failed)
            tell_failure(c);
        close_client(c);
        c->failure = (struct err){0};
        if (!failed)
            break;
        if (consumer_now_ms() - begun > SETTLED_MS)
            pause = RESTART_MIN_MS;
        pause_before_restart(c, pause);
        pause = MIN(pause * 2, (uint64_t)RESTART_MAX_MS);
    }
    loop_post(c->config.loop, &handoff_new(c, HANDOFF_STOPPED, 0, 0, 0)->msg);
    return NULL;
}
