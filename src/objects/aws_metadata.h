/* Credentials from services: of the container (ECS, EKS Pod Identity), of the instance (IMDSv2), and for a
 * web identity or a role (STS). Blocking. RC_NOT_FOUND: there is no such service here. */
#pragma once
#include "objects/aws_credentials.h"

enum rc aws_container_credentials(struct aws_http *http, const _Atomic bool *canceled,
                                  struct aws_credentials *out, struct err *err);
enum rc aws_instance_credentials(struct aws_http *http, const _Atomic bool *canceled,
                                 struct aws_credentials *out, struct err *err);
enum rc aws_web_identity(struct aws_http *http, const _Atomic bool *canceled, struct aws_credentials *out,
                         struct err *err);

struct aws_assume_role {
    const struct aws_credentials *credentials;   /* who asks */
    const char *role_arn, *external_id, *region; /* external_id NULL: none */
};
/* The session's name is restate-<unix seconds>. Endpoint: AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the
 * region's. Never RC_NOT_FOUND. */
enum rc aws_assume_role(struct aws_http *http, const _Atomic bool *canceled,
                        const struct aws_assume_role *role, struct aws_credentials *out, struct err *err);
