/* Documentation codes of attempt failures (spec/service-protocol.md §9.1, spec/errors.md §2). */
#pragma once

#define RT_TIMEOUT_OR_MEMORY  "RT0001" /* abort timeout; memory budget */
#define RT_MESSAGE_TOO_LARGE  "RT0003"
#define RT_STORAGE            "RT0006" /* reading journal or state failed */
#define RT_HANDLER_ERROR      "RT0007" /* Error message; stream ended without a terminal message */
#define RT_NETWORK            "RT0010"
#define RT_NO_DEPLOYMENT      "RT0011"
#define RT_PROTOCOL           "RT0012" /* violation, bad status, bad content type; SDK code 571 */
#define RT_NO_COMMON_VERSION  "RT0013"
#define RT_PINNED_UNSUPPORTED "RT0014"
#define RT_VERSION_REFUSED    "RT0015" /* status 415 */
#define RT_JOURNAL_MISMATCH   "RT0016" /* SDK code 570 */
#define RT_PRECONDITION       "RT0017"
#define RT_UNKNOWN_CALLEE     "RT0018"
#define RT_CONTENT_TOO_LARGE  "RT0019" /* status 413 */
#define RT_DEPRECATED_CALLEE  "RT0020"
#define RT_RATE_LIMITED       "RT0023" /* status 429, 503 */
#define RT_SCOPE              "RT0024"
#define RT_FUTURE_DEPTH       "RT0025"

#define CODE_INTERNAL           500u
#define CODE_UNSUPPORTED_MEDIA  415u
#define CODE_JOURNAL_MISMATCH   570u
#define CODE_PROTOCOL_VIOLATION 571u
