/* Files, standard input and the user's editor: see tool.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/read_file.h"
#include "tool/tool.h"

enum rc tool_read_file(const char *path, size_t limit, struct bytes *out, struct err *err)
{
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "standard input", limit, out, err);
    return read_file(path, limit, out, err);
}

static enum rc run_editor(const char *path, struct err *err)
{
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    pid_t pid = fork();
    if (pid < 0)
        return err_set_errno(err, RC_IO, errno, "cannot start an editor");
    if (pid == 0) {
        char *script = xasprintf("%s \"$1\"", editor);
        execl("/bin/sh", "sh", "-c", script, "sh", path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, RC_IO, "the editor `%s` failed", editor);
    return RC_OK;
}

enum rc tool_edit_text(struct tool *t, const char *suffix, struct slice text, struct bytes *out,
                       struct err *err)
{
    const char *dir = getenv("TMPDIR");
    char *path = tool_format(t, "%s/restate-edit-XXXXXX%s", dir && *dir ? dir : "/tmp", suffix);
    int fd = mkostemps(path, (int)strlen(suffix), O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create %s", path);
    enum rc rc = RC_OK;
    for (size_t at = 0; rc == RC_OK && at < text.len;) {
        ssize_t n = write(fd, text.ptr + at, text.len - at);
        if (n < 0 && errno != EINTR)
            rc = err_set_errno(err, RC_IO, errno, "cannot write %s", path);
        at += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    tool_flush(t);
    if (rc == RC_OK)
        rc = run_editor(path, err);
    if (rc == RC_OK)
        rc = tool_read_file(path, 32u << 20, out, err);
    unlink(path);
    return rc;
}
