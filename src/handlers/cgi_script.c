#include "cgi_script.h"

#include "../base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The root, opened, and its path. */
struct root {
    int fd;
    const char *path;
};

/* A path that is searched beneath the root, and what the walk upwards has cut from it. */
struct walk {
    char *path;          /* relative to the root; cut in place */
    char rest[PATH_MAX]; /* "/a/b": what stood behind the program's path; may be empty */
};

static int refuse(struct cgi_script *script, int status, const char *fault, int error)
{
    script->status = status;
    script->fault = fault;
    script->error = error;
    return status;
}

/* The HTTP status for an errno. EXDEV: the path leads out of the root. */
static int refuse_error(struct cgi_script *script, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG: return refuse(script, 404, "is not there", error);
    case EXDEV: return refuse(script, 403, "is outside of the root", 0);
    case EACCES:
    case EPERM:
    case ELOOP: return refuse(script, 403, "can't be opened", error);
    case EMFILE:
    case ENFILE:
    case ENOMEM: return refuse(script, 503, "can't be opened", error);
    default: return refuse(script, 500, "can't be opened", error);
    }
}

/* --- opening beneath the root ----------------------------------------------------------------- */

/* The part of the path behind the root, without a slash before it; both may have doubled slashes.
 * NULL: the path is not beneath the root. */
static char *relative_to(const char *root, char *path)
{
    while (*root) {
        if (*root == '/') {
            if (*path != '/' && *path)
                return NULL;
            root += strspn(root, "/");
            path += strspn(path, "/");
        } else if (*root++ != *path++) {
            return NULL;
        }
    }
    if (*path && *path != '/' && path[-1] != '/')
        return NULL;
    return path + strspn(path, "/");
}

/* EAGAIN: something on the way was renamed meanwhile, and the kernel can't tell whether the path is
 * still beneath the root (openat2(2)). */
static int open_within(int root, const char *path, unsigned long long flags)
{
    enum { TRIES = 10 };
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    for (int i = 0; i < TRIES; i++) {
        long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            return fd >= 0 ? (int)fd : -errno;
    }
    return -EAGAIN;
}

/* Symbolic links are followed as long as they lead to something beneath the root. The kernel
 * rejects each absolute link, wherever it leads: then the real path decides. It is opened in the
 * same way, so if a part of it is replaced meanwhile, it can't lead out either. */
static int open_beneath(const struct root *root, const char *path, unsigned long long flags)
{
    static char top[PATH_MAX], real[PATH_MAX], whole[2 * PATH_MAX];
    int fd = open_within(root->fd, path, flags);
    if (fd != -EXDEV)
        return fd;
    snprintf(whole, sizeof whole, "%s/%s", root->path, path);
    if (!realpath(root->path, top) || !realpath(whole, real))
        return -errno;
    const char *beneath = relative_to(top, real);
    return beneath ? open_within(root->fd, *beneath ? beneath : ".", flags) : -EXDEV;
}

/* Which link leads out of the root, for the log: the first prefix of the path that does is one. */
static const char *explain_escape(const struct root *root, const char *path)
{
    static char text[3 * PATH_MAX];
    char prefix[PATH_MAX], target[PATH_MAX];
    for (size_t end = 0; path[end];) {
        end += 1 + strcspn(path + end + 1, "/");
        snprintf(prefix, sizeof prefix, "%.*s", (int)end, path);
        int fd = open_beneath(root, prefix, O_PATH);
        if (fd >= 0)
            close(fd);
        if (fd != -EXDEV)
            continue;
        ssize_t size = readlinkat(root->fd, prefix, target, sizeof target);
        if (size < 0)
            break;
        snprintf(text, sizeof text, "is outside of the root %s: %s is a link to %.*s", root->path,
                 prefix, (int)size, target);
        return text;
    }
    return "is outside of the root";
}

/* Moves the last component to the front of `rest`. False: it was the only one. */
static bool step_up(struct walk *walk)
{
    char *slash = strrchr(walk->path, '/');
    if (!slash || slash == walk->path)
        return false;
    size_t cut = strlen(slash), rest = strlen(walk->rest);
    memmove(walk->rest + cut, walk->rest, rest + 1);
    memcpy(walk->rest, slash, cut);
    *slash = '\0';
    return true;
}

/* Opens the longest prefix that exists. A descriptor, or -errno of the whole path. */
static int open_longest(const struct root *root, struct walk *walk)
{
    int first = 0;
    for (;;) {
        int fd = open_beneath(root, walk->path, O_PATH);
        if (fd >= 0)
            return fd;
        if (first == 0)
            first = fd;
        if ((fd != -ENOENT && fd != -ENOTDIR && fd != -ENAMETOOLONG) || !step_up(walk))
            return fd == -ENOENT || fd == -ENOTDIR ? first : fd;
    }
}

static int open_file(struct cgi_script *script, const struct root *root, struct walk *walk)
{
    struct stat file;
    int fd = open_longest(root, walk);
    if (fd == -EXDEV)
        return refuse(script, 403, explain_escape(root, walk->path), 0);
    if (fd < 0)
        return refuse_error(script, -fd);
    script->program = fd;
    if (fstat(fd, &file) != 0)
        return refuse_error(script, errno);
    if (S_ISDIR(file.st_mode) && walk->rest[0])
        return refuse(script, 404, "is not there", ENOENT);
    return S_ISREG(file.st_mode) ? 0 : refuse(script, 403, "is not a regular file", 0);
}

/* --- the requested path ----------------------------------------------------------------------- */

/* Apache puts "proxy:fcgi://host:port" before the path. */
static const char *without_proxy(const char *path)
{
    const char *authority = strncmp(path, "proxy:", 6) == 0 ? strstr(path, "://") : NULL;
    const char *slash = authority ? strchr(authority + 3, '/') : NULL;
    return slash ? slash : path;
}

/* h2o splits nothing: it puts the whole path into PATH_INFO, and leaves SCRIPT_NAME empty. False:
 * no room. */
static bool name_from_path_info(struct cgi_env *env)
{
    const char *filename = cgi_env_get(env, "SCRIPT_FILENAME");
    const char *name = cgi_env_get(env, "SCRIPT_NAME"), *path = cgi_env_get(env, "PATH_INFO");
    if ((filename && *filename) || (name && *name) || !path || !*path)
        return true;
    if (!cgi_env_set(env, "SCRIPT_NAME", path))
        return false;
    cgi_env_unset(env, "PATH_INFO");
    cgi_env_unset(env, "PATH_TRANSLATED");
    return true;
}

/* Writes the requested path into `script`. 0, or the HTTP status of a refusal. */
static int write_path(struct cgi_script *script, const struct cgi_env *env)
{
    const char *filename = cgi_env_get(env, "SCRIPT_FILENAME");
    const char *root = cgi_env_get(env, "DOCUMENT_ROOT"), *name = cgi_env_get(env, "SCRIPT_NAME");
    int length;
    if (filename && *filename)
        length = snprintf(script->path, sizeof script->path, "%s", without_proxy(filename));
    else if (root && *root && name && *name)
        length = snprintf(script->path, sizeof script->path, "%s%s%s", root,
                          name[0] == '/' ? "" : "/", name);
    else
        return refuse(script, 500, "is not named: there is neither SCRIPT_FILENAME nor SCRIPT_NAME",
                      0);
    if (length >= (int)sizeof script->path)
        return refuse(script, 404, "has a name that is too long", ENAMETOOLONG);
    if (script->path[0] != '/')
        return refuse(script, 403, "has no absolute path", 0);
    for (const char *at = script->path; (at = strstr(at, "/..")); at++)
        if (at[3] == '/' || at[3] == '\0')
            return refuse(script, 403, "has .. in its path", 0);
    return 0;
}

static bool ends_in(const char *name, const char *suffix, size_t size)
{
    size_t length = strlen(name);
    return length >= size && memcmp(name + length - size, suffix, size) == 0;
}

const char *cgi_script_interpreter(const char *word, const char *name)
{
    const char *equals = strchr(word, '=');
    return equals && ends_in(name, word, (size_t)(equals - word)) ? equals + 1 : NULL;
}

static int choose_interpreter(struct cgi_script *script, const struct cgi_config *config)
{
    bool fits = config->suffixes.count == 0;
    for (int i = 0; i < config->suffixes.count && !fits; i++)
        fits = ends_in(script->path, config->suffixes.at[i], strlen(config->suffixes.at[i]));
    for (int i = 0; i < config->interpreter.count && !script->interpreter; i++)
        script->interpreter = cgi_script_interpreter(config->interpreter.at[i], script->path);
    return fits ? 0 : refuse(script, 403, "has none of the suffixes", 0);
}

/* --- the template ----------------------------------------------------------------------------- */

static void choose_template(struct cgi_script *script, const struct cgi_config *config)
{
    for (int i = 0; i < config->template.count && script->template <0; i++)
        if (cgi_script_interpreter(config->template.at[i], script->path))
            script->template = i;
}

/* Opens the same file once more to be read, not another that has its name by now. */
static void open_source(struct cgi_script *script, const struct root *root, const char *path)
{
    struct stat found, opened;
    int fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && (fstat(fd, &opened) != 0 || fstat(script->program, &found) != 0 ||
                    opened.st_dev != found.st_dev || opened.st_ino != found.st_ino))
        fd_cleanup(&fd);
    script->source = fd < 0 ? -1 : fd;
}

/* --- the environment -------------------------------------------------------------------------- */

/* Cuts the rest, which is PATH_INFO now, off SCRIPT_NAME. */
static bool shorten_name(struct cgi_env *env, const char *rest)
{
    char shorter[PATH_MAX];
    const char *name = cgi_env_get(env, "SCRIPT_NAME");
    size_t cut = strlen(rest);
    if (!name || !ends_in(name, rest, cut) || strlen(name) - cut >= sizeof shorter)
        return true;
    snprintf(shorter, sizeof shorter, "%.*s", (int)(strlen(name) - cut), name);
    return cgi_env_set(env, "SCRIPT_NAME", shorter);
}

static bool set_path_info(struct cgi_env *env, const char *rest)
{
    char translated[2 * PATH_MAX];
    const char *root = cgi_env_get(env, "DOCUMENT_ROOT");
    if (!rest[0])
        return true;
    if (!shorten_name(env, rest) || !cgi_env_set(env, "PATH_INFO", rest))
        return false;
    if (!root || !*root)
        return true;
    snprintf(translated, sizeof translated, "%.*s%s", PATH_MAX, root, rest);
    return cgi_env_set(env, "PATH_TRANSLATED", translated);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* walk.path points into script->path, so the walk cuts that down to what was found. */
static int open_named(struct cgi_script *script, const struct root *root,
                      const struct cgi_config *config, struct cgi_env *env)
{
    static struct walk walk;
    static char name[PATH_MAX + 2];
    char directory[PATH_MAX] = ".";
    walk.rest[0] = '\0';
    walk.path = relative_to(root->path, script->path);
    if (!walk.path)
        return refuse(script, 403, "is outside of the root", 0);
    if (!walk.path[0])
        return refuse(script, 404, "is the root itself", 0);
    int status = open_file(script, root, &walk);
    if (status) {
        strcat(walk.path, walk.rest); /* undo the cut, for the log */
        return status;
    }
    status = choose_interpreter(script, config);
    if (status)
        return status;
    const char *slash = strrchr(walk.path, '/');
    if (slash)
        snprintf(directory, sizeof directory, "%.*s", (int)(slash - walk.path), walk.path);
    script->directory = open_beneath(root, directory, O_PATH | O_DIRECTORY);
    if (script->directory < 0)
        return refuse_error(script, -script->directory);
    snprintf(name, sizeof name, "./%s", slash ? slash + 1 : walk.path);
    script->name = name;
    choose_template(script, config);
    if (script->template >= 0)
        open_source(script, root, walk.path);
    /* php-cgi runs nothing unless it is told that a web server has asked for it. */
    bool asks = script->interpreter && !cgi_env_get(env, "REDIRECT_STATUS");
    bool fits = (!asks || cgi_env_set(env, "REDIRECT_STATUS", "200")) &&
                cgi_env_set(env, "SCRIPT_FILENAME", script->path) && set_path_info(env, walk.rest);
    return fits ? 0 : refuse(script, 431, "has too large an environment", 0);
}

static int open_beneath_root(struct cgi_script *script, const struct cgi_config *config,
                             struct cgi_env *env)
{
    if (!name_from_path_info(env))
        return refuse(script, 431, "has too large an environment", 0);
    int status = write_path(script, env);
    if (status)
        return status;
    const struct root root = {open(config->root, O_PATH | O_DIRECTORY | O_CLOEXEC), config->root};
    if (root.fd < 0)
        return refuse(script, errno == EMFILE || errno == ENFILE ? 503 : 500,
                      "can't be looked for: the root can't be opened", errno);
    status = open_named(script, &root, config, env);
    close(root.fd);
    return status;
}

/* The configured program runs by its path, in its directory. */
static int open_configured(struct cgi_script *script, const struct cgi_config *config,
                           struct cgi_env *env)
{
    const char *slash = strrchr(config->program, '/');
    size_t length = slash > config->program ? (size_t)(slash - config->program) : 1;
    snprintf(script->path, sizeof script->path, "%.*s", (int)length, config->program);
    script->directory = open(script->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int error = errno;
    snprintf(script->path, sizeof script->path, "%s", config->program);
    if (script->directory < 0)
        return refuse_error(script, error);
    script->name = config->program;
    choose_template(script, config);
    if (script->template >= 0)
        script->source = open(config->program, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (!cgi_env_get(env, "SCRIPT_FILENAME") &&
        !cgi_env_set(env, "SCRIPT_FILENAME", config->program))
        return refuse(script, 431, "has too large an environment", 0);
    return 0;
}

int cgi_script_open(struct cgi_script *script, const struct cgi_config *config, struct cgi_env *env)
{
    script->path[0] = '\0';
    script->name = script->interpreter = NULL;
    script->program = 0;
    script->directory = script->template = script->source = -1;
    int status = config->program ? open_configured(script, config, env)
                                 : open_beneath_root(script, config, env);
    if (status)
        cgi_script_close(script);
    return status;
}

void cgi_script_close(struct cgi_script *script)
{
    if (script->program > 0)
        close(script->program);
    fd_cleanup(&script->directory);
    fd_cleanup(&script->source);
    script->program = 0;
}
