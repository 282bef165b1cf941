/* The version this server reports. Official tools and the UI compare it, so it names the Restate release
 * whose protocols are spoken. */
#pragma once
#define RESTATE_VERSION "1.7.12"
