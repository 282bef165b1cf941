/* Credentials from services: of the container (ECS, EKS Pod Identity), of the instance (IMDSv2), and for a
 * web identity (STS). Blocking. RC_NOT_FOUND: there is no such service here. */
#pragma once
#include "objects/s3_credentials.h"

enum rc s3_container_credentials(struct s3_http *http, const _Atomic bool *canceled,
                                 struct s3_credentials *out, struct err *err);
enum rc s3_instance_credentials(struct s3_http *http, const _Atomic bool *canceled,
                                struct s3_credentials *out, struct err *err);
enum rc s3_web_identity(struct s3_http *http, const _Atomic bool *canceled, struct s3_credentials *out,
                        struct err *err);
