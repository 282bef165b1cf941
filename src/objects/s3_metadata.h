/* Credentials from services: of the container (ECS, EKS Pod Identity), of the instance (IMDSv2), and for a
 * web identity or a role (STS). Blocking. RC_NOT_FOUND: there is no such service here. */
#pragma once
#include "objects/s3_credentials.h"

enum rc s3_container_credentials(struct s3_http *http, const _Atomic bool *canceled,
                                 struct s3_credentials *out, struct err *err);
enum rc s3_instance_credentials(struct s3_http *http, const _Atomic bool *canceled,
                                struct s3_credentials *out, struct err *err);
enum rc s3_web_identity(struct s3_http *http, const _Atomic bool *canceled, struct s3_credentials *out,
                        struct err *err);

struct s3_assume_role {
    const struct s3_credentials *credentials;    /* who asks */
    const char *role_arn, *external_id, *region; /* external_id NULL: none */
};
/* The session's name is restate-<unix seconds>. Endpoint: AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the
 * region's. Never RC_NOT_FOUND. */
enum rc s3_assume_role(struct s3_http *http, const _Atomic bool *canceled, const struct s3_assume_role *role,
                       struct s3_credentials *out, struct err *err);
