/* A schema with the services of test/vectors/services.mjs, as the TypeScript SDK announces them. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* after the system headers: */
#include <cmocka.h>

#include "base/codec.h"
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

#define FIXTURE_JSON_IN           "\"input\":{\"required\":false,\"contentType\":\"application/json\"}"
#define FIXTURE_JSON_OUT          "\"output\":{\"contentType\":\"application/json\",\"setContentTypeIfEmpty\":false}"
#define FIXTURE_HANDLER(name, ty) "{\"name\":\"" name "\"" ty "," FIXTURE_JSON_IN "," FIXTURE_JSON_OUT "}"

static const char
    fixture_manifest[] =
        "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":["
        "{\"name\":\"Vec\",\"ty\":\"SERVICE\",\"handlers\":[" FIXTURE_HANDLER("echo", "") "," FIXTURE_HANDLER("greet", "") "," FIXTURE_HANDLER("count", "") "," FIXTURE_HANDLER(
            "busy",
            "") "," FIXTURE_HANDLER("fail",
                                    "") ","
                                        "{\"name\":\"nothingAnnounced\"},"
                                        "{\"name\":\"req\",\"input\":{\"contentType\":\"*/"
                                        "*\"}," FIXTURE_JSON_OUT "},"
                                        "{\"name\":\"raw\",\"input\":{\"contentType\":\"*/"
                                        "*\"},\"output\":{\"contentType\":\"application/octet-stream\"}},"
                                        "{\"name\":\"app\",\"input\":{\"contentType\":\"application/"
                                        "*\"},\"output\":{\"contentType\":\"text/plain\"}},"
                                        "{\"name\":\"plain\",\"input\":{\"contentType\":\"text/"
                                        "plain\"},\"output\":{\"contentType\":\"text/plain\"}},"
                                        "{\"name\":\"plainAlways\",\"input\":{\"contentType\":\"text/"
                                        "plain\"},"
                                        "\"output\":{\"contentType\":\"text/"
                                        "plain\",\"setContentTypeIfEmpty\":true}},"
                                        "{\"name\":\"schema\",\"input\":{\"contentType\":\"application/"
                                        "json\",\"jsonSchema\":{\"type\":\"object\"}}," FIXTURE_JSON_OUT "},"
                                        "{\"name\":\"needs\",\"input\":{\"required\":true,\"contentType\":"
                                        "\"application/json\"},\"output\":{}},"
                                        "{\"name\":\"broken\",\"input\":{\"required\":true},\"output\":{}},"
                                        "{\"name\":\"empty\",\"input\":{},\"output\":{}},"
                                        "{\"name\":\"hidden\",\"ingressPrivate\":true}]},"
                                        "{\"name\":\"VecObj\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":"
                                        "[" FIXTURE_HANDLER("key", "") "," FIXTURE_HANDLER("add", "") "," FIXTURE_HANDLER(
                                            "send",
                                            ",\"ty\":\"SHARED\"") "]},"
                                                                  "{\"name\":\"VecWf\",\"ty\":"
                                                                  "\"WORKFLOW\",\"handlers\":"
                                                                  "[" FIXTURE_HANDLER(
                                                                      "run",
                                                                      ",\"ty\""
                                                                      ":\"WORK"
                                                                      "FLOW\"") "," FIXTURE_HANDLER("key",
                                                                                                    ",\"ty\":"
                                                                                                    "\"SHARED"
                                                                                                    "\"") "]}"
                                                                                                          ","
                                                                                                          "{"
                                                                                                          "\""
                                                                                                          "na"
                                                                                                          "me"
                                                                                                          "\""
                                                                                                          ":"
                                                                                                          "\""
                                                                                                          "Ve"
                                                                                                          "cP"
                                                                                                          "ri"
                                                                                                          "va"
                                                                                                          "te"
                                                                                                          "\""
                                                                                                          ","
                                                                                                          "\""
                                                                                                          "ty"
                                                                                                          "\""
                                                                                                          ":"
                                                                                                          "\""
                                                                                                          "SE"
                                                                                                          "RV"
                                                                                                          "IC"
                                                                                                          "E"
                                                                                                          "\""
                                                                                                          ","
                                                                                                          "\""
                                                                                                          "in"
                                                                                                          "gr"
                                                                                                          "es"
                                                                                                          "sP"
                                                                                                          "ri"
                                                                                                          "va"
                                                                                                          "te"
                                                                                                          "\""
                                                                                                          ":t"
                                                                                                          "ru"
                                                                                                          "e,"
                                                                                                          "\""
                                                                                                          "ha"
                                                                                                          "nd"
                                                                                                          "le"
                                                                                                          "rs"
                                                                                                          "\""
                                                                                                          ":["
                                                                                                          "{"
                                                                                                          "\""
                                                                                                          "na"
                                                                                                          "me"
                                                                                                          "\""
                                                                                                          ":"
                                                                                                          "\""
                                                                                                          "hi"
                                                                                                          "\""
                                                                                                          "}"
                                                                                                          "]}"
                                                                                                          "]"
                                                                                                          "}";

static inline struct schema *fixture_schema(void)
{
    struct manifest m;
    struct problem problem;
    if (!manifest_parse(slice_cstr(fixture_manifest), NULL, false, &m, &problem))
        fail_msg("%s", problem.message);
    struct schema_register r = {.kind = DEPLOYMENT_HTTP, .uri = "http://127.0.0.1:21210/"};
    struct schema_discovered found = {.manifest = &m};
    struct schema_change change;
    enum schema_register_outcome outcome;
    struct u128 id;
    struct schema *empty = schema_empty();
    if (!schema_register(empty, &r, NULL, &found, 1, (struct u128){1, 2}, &change, &outcome, &id, &problem))
        fail_msg("%s", problem.message);
    struct schema *s = schema_ref(change.next);
    schema_change_free(&change);
    schema_unref(empty);
    manifest_free(&m);
    return s;
}
static inline void fixture_defaults(struct schema_defaults *d)
{
    const uint64_t day = 86400000;
    *d = (struct schema_defaults){
        .journal_retention_ms = day,
        .idempotency_retention_ms = day,
        .workflow_completion_retention_ms = day,
        .max_journal_retention_ms = OPTION_UNSET,
        .max_idempotency_retention_ms = OPTION_UNSET,
        .max_workflow_completion_retention_ms = OPTION_UNSET,
    };
}
