#include "notify.h"

#include "../base/daemon.h"
#include "../base/entry.h"
#include "../base/fd.h"
#include "../wire/notice.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    DATAGRAM_MOST = 4096,
    DATAGRAMS_AT_ONCE = 16,
    LEFTOVERS_MOST = 10000,
    NUMBERS_MOST = 20000, /* paths that may be in use, from before an upgrade */
    TRIES_MOST = 10,
};

/* The group of a sender that has ended is unknown. Then its user must be the worker's, who may do
 * anything to the worker anyway. */
static bool is_heard(const struct notify *notify, const struct ucred *sender)
{
    if (notify->pid <= 0 || sender->pid <= 0)
        return false;
    if (sender->pid == notify->pid)
        return true;
    pid_t group = getpgid(sender->pid);
    return group == notify->pid || (group < 0 && errno == ESRCH && sender->uid == notify->uid);
}

/* Reads one datagram. The descriptors in it are closed: the master stores none for a program, and
 * sd_notify_barrier(3) waits until its descriptor is closed. False: none is waiting. */
static bool read_one(struct notify *notify)
{
    char text[DATAGRAM_MOST];
    struct notice notice;
    struct ucred sender;
    ssize_t n = fd_receive_foreign(notify->watch.fd, text, sizeof text, &sender);
    if (n < 0)
        return n == -EINTR;
    if (!is_heard(notify, &sender) || n > (ssize_t)sizeof text)
        return true;
    notice_read(text, (size_t)n, &notice);
    if (notify->changed)
        *notify->changed = true;
    notify->ready = notify->ready || notice.ready;
    notify->hung = notify->hung || notice.hung;
    if (notice.watchdog)
        notify->watchdog = notice.watchdog;
    if (notice.alive)
        notify->alive_at = clock_now();
    if (notice.status)
        snprintf(notify->status, notify->room, "%.*s", (int)notice.status_length, notice.status);
    return true;
}

static void read_ready(void *owner)
{
    struct notify *notify = owner;
    for (int i = 0; i < DATAGRAMS_AT_ONCE && read_one(notify); i++)
        continue;
}

/* The address in the form of NOTIFY_SOCKET. 0 or -1 with errno set. */
static int address_of(int fd, char address[static NOTIFY_ADDRESS])
{
    struct sockaddr_un name = {0};
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        return -1;
    if (length <= offsetof(struct sockaddr_un, sun_path)) {
        errno = EINVAL;
        return -1;
    }
    size_t most = length - offsetof(struct sockaddr_un, sun_path);
    if (name.sun_path[0])
        snprintf(address, NOTIFY_ADDRESS, "%.*s", (int)most, name.sun_path);
    else
        snprintf(address, NOTIFY_ADDRESS, "@%.*s", (int)most - 1, name.sun_path + 1);
    return 0;
}

struct notify *notify_adopt(struct loop *loop, int fd, uid_t uid, char *status, size_t room)
{
    struct notify *notify = calloc(1, sizeof *notify);
    if (!notify)
        return NULL;
    *notify = (struct notify){
        .watch = {.fd = fd, .ready = read_ready, .owner = notify},
        .loop = loop,
        .uid = uid,
        .status = status,
        .room = room,
    };
    int error = address_of(fd, notify->address) == 0 ? 0 : -errno;
    if (!error)
        error = loop_add(loop, &notify->watch);
    if (!error)
        return notify;
    free(notify);
    errno = -error;
    return NULL;
}

/* The directory of the sockets; empty: not chosen yet, or removed. */
static char directory[NOTIFY_ADDRESS - 24];

/* Whether nobody else can add a file there, or remove one. */
static bool is_ours_alone(const char *path)
{
    struct stat file;
    return lstat(path, &file) == 0 && S_ISDIR(file.st_mode) && file.st_uid == geteuid() &&
           !(file.st_mode & (S_IWGRP | S_IWOTH));
}

static bool make_directory(const char *path, mode_t mode)
{
    entry_make_directory(path, mode);
    return is_ours_alone(path);
}

/* Removes the sockets that a killed master left behind: nobody receives there. */
static void remove_leftovers(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const struct dirent *entry;
    DIR *all = opendir(directory);
    int fd = all ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    for (int i = 0; fd >= 0 && i < LEFTOVERS_MOST && (entry = readdir(all)); i++) {
        int length =
            snprintf(name.sun_path, sizeof name.sun_path, "%s/%s", directory, entry->d_name);
        if (entry->d_type != DT_SOCK || length >= (int)sizeof name.sun_path)
            continue;
        if (connect(fd, (const struct sockaddr *)&name, sizeof name) != 0 && errno == ECONNREFUSED)
            unlink(name.sun_path);
    }
    if (fd >= 0)
        close(fd);
    if (all)
        closedir(all);
}

/* The modes let pools' users pass through. 0 or -1 with errno set. */
static int choose_directory(void)
{
    bool root = geteuid() == 0, found = false;
    const char *under = getenv(PLACE_OWN_UNDER);
    if (root) {
        snprintf(directory, sizeof directory, PLACE_NOTIFY);
        found = make_directory(PLACE_RUN, 0755) && make_directory(directory, 0711);
    } else if (under && under[0] == '/' && is_ours_alone(under)) {
        int length = snprintf(directory, sizeof directory, "%s/" PLACE_OWN_NOTIFY, under);
        found = length < (int)sizeof directory && make_directory(directory, 0700);
    }
    if (found) {
        remove_leftovers();
        return 0;
    }
    snprintf(directory, sizeof directory, PLACE_TEMP_NOTIFY);
    if (mkdtemp(directory) && (!root || chmod(directory, 0711) == 0))
        return 0;
    directory[0] = '\0';
    return -1;
}

/* The path gets the mode of the socket, less the umask. Nobody can replace it before lchown(2),
 * because the directory is ours. 0 or -1 with errno set. */
static int bind_in_directory(int fd, uid_t uid)
{
    static unsigned number;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int error = fchmod(fd, 0600);
    for (int i = 0; !error && i < NUMBERS_MOST; i++) {
        snprintf(name.sun_path, sizeof name.sun_path, "%s/%d-%u", directory, (int)getpid(),
                 ++number);
        error = bind(fd, (const struct sockaddr *)&name, sizeof name);
        if (error && errno == EADDRINUSE) /* from before an upgrade */
            error = 0;
        else
            break;
    }
    if (error || geteuid() != 0 || lchown(name.sun_path, uid, (gid_t)-1) == 0)
        return error;
    error = errno;
    unlink(name.sun_path);
    errno = error;
    return -1;
}

/* Another daemon removes the directory when it closes its last socket, which may be just before the
 * bind. Then another try makes it anew. */
static int bind_path(int fd, uid_t uid)
{
    int error = -1;
    for (int i = 0; error && i < TRIES_MOST; i++) {
        if (!directory[0] && choose_directory() != 0)
            return -1;
        error = bind_in_directory(fd, uid);
        if (error && errno != ENOENT)
            break;
        if (error)
            directory[0] = '\0';
    }
    return error;
}

/* Removes a path, and the directory if it was the last one there. */
static void remove_path(const char *address)
{
    char parent[NOTIFY_ADDRESS];
    if (address[0] != '/')
        return;
    unlink(address);
    snprintf(parent, sizeof parent, "%s", address);
    *strrchr(parent, '/') = '\0';
    rmdir(parent); /* fails unless it is empty */
}

struct notify *notify_open(struct loop *loop, uid_t uid, bool elsewhere, char *status, size_t room)
{
    static const int on = 1;
    /* The kernel picks a name that nobody else has (unix(7), autobind). */
    static const struct sockaddr_un none = {.sun_family = AF_UNIX};
    char address[NOTIFY_ADDRESS] = "";
    struct notify *notify = NULL;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 &&
        (elsewhere ? bind(fd, (const struct sockaddr *)&none, sizeof none.sun_family)
                   : bind_path(fd, uid)) == 0)
        notify = notify_adopt(loop, fd, uid, status, room);
    if (notify)
        return notify;
    int error = errno;
    if (address_of(fd, address) == 0)
        remove_path(address);
    fd_close_foreign(fd);
    errno = error;
    return NULL;
}

void notify_close(struct notify *notify)
{
    if (!notify)
        return;
    loop_remove(notify->loop, &notify->watch);
    fd_close_foreign(notify->watch.fd);
    remove_path(notify->address);
    free(notify);
}
