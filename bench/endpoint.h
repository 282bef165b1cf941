/* What handlers tell the endpoint. */
#pragma once
#include <stdint.h>

/* A sleep that was due at `due_wall_ms` has come back: its lag goes into GET /stats. */
void endpoint_record_wake_up(uint64_t due_wall_ms);
