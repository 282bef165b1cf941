/* The other side of the Kafka tests: hosts librdkafka's mock brokers, or talks to real ones, and does what
 * the lines on its standard input say, one answer line each ("ok ..." or "error ..."):
 *
 *   topic NAME PARTITIONS                    create
 *   produce TOPIC PARTITION KEY VALUE [SCOPE [LIMIT_KEY]]
 *                                            in hex, "-" for none, PARTITION -1: by key
 *   many TOPIC PARTITIONS FROM COUNT KEYS    keys k0..k<KEYS-1>, values FROM..FROM+COUNT-1 as JSON numbers;
 * record i goes to partition (key number) mod PARTITIONS committed GROUP TOPIC PARTITION          ok OFFSET
 *   down BROKER | up BROKER                  mock only
 *
 * First line it prints: the address. Usage: kafka_helper mock BROKERS | kafka_helper bootstrap HOST:PORT */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rd_kafka_t *rk;
static rd_kafka_mock_cluster_t *mock;
static char *bootstrap;
static int failed;

static void on_delivered(rd_kafka_t *k, const rd_kafka_message_t *m, void *opaque)
{
    failed += m->err != 0;
}

static size_t unhex(const char *text, unsigned char *out, size_t cap)
{
    size_t n = 0;
    for (unsigned v; n < cap && sscanf(text + 2 * n, "%2x", &v) == 1; n++)
        out[n] = (unsigned char)v;
    return n;
}

/* `headers` may be NULL. */
static int produce(const char *topic, int partition, const void *key, size_t key_len, const void *value,
                   size_t len, const rd_kafka_headers_t *headers)
{
    for (;;) {
        rd_kafka_headers_t *copy = headers ? rd_kafka_headers_copy(headers) : rd_kafka_headers_new(0);
        rd_kafka_resp_err_t err = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, key_len),
            RD_KAFKA_V_VALUE((void *)value, len), RD_KAFKA_V_HEADERS(copy),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (err)
            rd_kafka_headers_destroy(copy); /* else they are librdkafka's */
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return err;
        rd_kafka_poll(rk, 10);
    }
}

static void settle(void)
{
    rd_kafka_resp_err_t err = rd_kafka_flush(rk, 30000);
    if (err || failed)
        printf("error %s, %d records failed\n", rd_kafka_err2str(err), failed);
    else
        printf("ok\n");
    failed = 0;
}

static void add_header(rd_kafka_headers_t *headers, const char *name, const char *hex)
{
    unsigned char value[256];
    if (hex && *hex != '-')
        rd_kafka_header_add(headers, name, -1, value, (ssize_t)unhex(hex, value, sizeof(value)));
}

/* `scope` and `limit_key` may be NULL. */
static void do_produce(char *topic, int partition, const char *key, const char *value, const char *scope,
                       const char *limit_key)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    add_header(headers, "x-restate-scope", scope);
    add_header(headers, "x-restate-limit-key", limit_key);
    static unsigned char k[1 << 16], v[1 << 22];
    size_t kn = unhex(key, k, sizeof(k)), vn = unhex(value, v, sizeof(v));
    int err = produce(topic, partition, *key == '-' ? NULL : k, *key == '-' ? 0 : kn,
                      *value == '-' ? NULL : v, *value == '-' ? 0 : vn, headers);
    rd_kafka_headers_destroy(headers);
    if (err)
        printf("error %s\n", rd_kafka_err2str((rd_kafka_resp_err_t)err));
    else
        settle();
}

static void do_many(const char *topic, int partitions, long from, long count, int keys)
{
    for (long i = from; i < from + count; i++) {
        char key[32], value[32];
        int k = (int)(i % keys);
        snprintf(key, sizeof(key), "k%d", k);
        snprintf(value, sizeof(value), "%ld", i);
        failed += produce(topic, k % partitions, key, strlen(key), value, strlen(value), NULL) != 0;
    }
    settle();
}

static void do_topic(const char *name, int partitions)
{
    char text[256] = "";
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (mock) {
        err = rd_kafka_mock_topic_create(mock, name, partitions, 1);
    } else {
        rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(name, partitions, 1, text, sizeof(text));
        rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
        rd_kafka_CreateTopics(rk, &t, 1, NULL, q);
        rd_kafka_event_t *e = rd_kafka_queue_poll(q, 30000);
        err = e ? rd_kafka_event_error(e) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (e)
            rd_kafka_event_destroy(e);
        rd_kafka_queue_destroy(q);
        rd_kafka_NewTopic_destroy(t);
    }
    printf(err ? "error %s\n" : "ok\n", rd_kafka_err2str(err));
}

static void do_committed(const char *group, const char *topic, int partition)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof(text));
    rd_kafka_conf_set(conf, "group.id", group, text, sizeof(text));
    rd_kafka_t *c = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, topic, partition);
    rd_kafka_resp_err_t err = rd_kafka_committed(c, l, 10000);
    if (err)
        printf("error %s\n", rd_kafka_err2str(err));
    else
        printf("ok %lld\n", (long long)l->elems[0].offset);
    rd_kafka_topic_partition_list_destroy(l);
    rd_kafka_destroy(c);
}

static void run(char *line)
{
    char *word[7] = {0};
    int n = 0;
    for (char *p = strtok(line, " \n"); p && n < 7; p = strtok(NULL, " \n"))
        word[n++] = p;
    if (n == 3 && strcmp(word[0], "topic") == 0)
        do_topic(word[1], atoi(word[2]));
    else if (n >= 5 && strcmp(word[0], "produce") == 0)
        do_produce(word[1], atoi(word[2]), word[3], word[4], word[5], word[6]);
    else if (n == 6 && strcmp(word[0], "many") == 0)
        do_many(word[1], atoi(word[2]), atol(word[3]), atol(word[4]), atoi(word[5]));
    else if (n == 4 && strcmp(word[0], "committed") == 0)
        do_committed(word[1], word[2], atoi(word[3]));
    else if (n == 2 && mock && (strcmp(word[0], "down") == 0 || strcmp(word[0], "up") == 0)) {
        if (word[0][0] == 'd')
            rd_kafka_mock_broker_set_down(mock, atoi(word[1]));
        else
            rd_kafka_mock_broker_set_up(mock, atoi(word[1]));
        printf("ok\n");
    } else
        printf("error unknown command\n");
}

int main(int argc, char **argv)
{
    char text[256];
    if (argc != 3)
        return 2;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    rd_kafka_conf_set(conf, "linger.ms", "1", text, sizeof(text));
    rd_kafka_t *host = NULL;
    if (strcmp(argv[1], "mock") == 0) {
        host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
        mock = rd_kafka_mock_cluster_new(host, atoi(argv[2]));
        bootstrap = strdup(rd_kafka_mock_cluster_bootstraps(mock));
    } else {
        bootstrap = strdup(argv[2]);
    }
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof(text));
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!rk)
        return 1;
    printf("%s\n", bootstrap);
    fflush(stdout);
    static char line[1 << 23];
    while (fgets(line, sizeof(line), stdin)) {
        run(line);
        fflush(stdout);
    }
    rd_kafka_destroy(rk);
    if (mock)
        rd_kafka_mock_cluster_destroy(mock);
    if (host)
        rd_kafka_destroy(host);
    free(bootstrap);
    return 0;
}
