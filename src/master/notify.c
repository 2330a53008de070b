#include "notify.h"

#include "../wire/notice.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    DATAGRAM_MOST = 4096, /* as long as anybody's */
    DATAGRAMS_AT_ONCE = 16,
    DESCRIPTORS_MOST = 253, /* in one datagram (unix(7)) */
};

/* Room for what comes beside the text, aligned as it must be. */
union ancillary {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(DESCRIPTORS_MOST * sizeof(int))];
};

/* A sender that is gone can't be asked for its group any more. It was its user's, who may do to the
 * worker what he likes. */
static bool is_heard(const struct notify *notify, const struct ucred *sender)
{
    if (notify->pid <= 0 || sender->pid <= 0)
        return false;
    if (sender->pid == notify->pid)
        return true;
    pid_t group = getpgid(sender->pid);
    return group == notify->pid || (group < 0 && errno == ESRCH && sender->uid == notify->uid);
}

/* We keep nothing for anybody; and whoever waits for a descriptor to be closed (sd_notify_barrier(3))
 * has waited long enough. */
static void close_descriptors(const struct cmsghdr *part)
{
    int fd;
    for (size_t at = CMSG_LEN(0); at + sizeof fd <= part->cmsg_len; at += sizeof fd) {
        memcpy(&fd, (const char *)part + at, sizeof fd);
        close(fd);
    }
}

static struct ucred take_sender(struct msghdr *message)
{
    struct ucred sender = {0};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        if (part->cmsg_type == SCM_RIGHTS)
            close_descriptors(part);
        else if (part->cmsg_type == SCM_CREDENTIALS)
            memcpy(&sender, CMSG_DATA(part), sizeof sender);
    }
    return sender;
}

static void heed(struct notify *notify, const struct notice *notice)
{
    if (notify->changed)
        *notify->changed = true;
    notify->ready = notify->ready || notice->ready;
    notify->hung = notify->hung || notice->hung;
    if (notice->watchdog)
        notify->watchdog = notice->watchdog;
    if (notice->alive)
        notify->alive_at = clock_now();
    if (notice->status)
        snprintf(notify->status, notify->room, "%.*s", (int)notice->status_length, notice->status);
}

/* False where nothing is there. */
static bool hear_one(struct notify *notify)
{
    char text[DATAGRAM_MOST];
    union ancillary beside;
    struct notice notice;
    struct iovec part = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof beside};
    ssize_t n = recvmsg(notify->watch.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EINTR;
    struct ucred sender = take_sender(&message);
    if (!is_heard(notify, &sender) || (message.msg_flags & MSG_TRUNC))
        return true;
    notice_read(text, (size_t)n, &notice);
    heed(notify, &notice);
    return true;
}

static void hear(void *owner)
{
    struct notify *notify = owner;
    for (int i = 0; i < DATAGRAMS_AT_ONCE && hear_one(notify); i++)
        continue;
}

struct notify *notify_adopt(struct loop *loop, int fd, uid_t uid, char *status, size_t room)
{
    struct notify *notify = calloc(1, sizeof *notify);
    if (!notify)
        return NULL;
    *notify = (struct notify){
        .watch = {.fd = fd, .ready = hear, .owner = notify},
        .loop = loop,
        .uid = uid,
        .status = status,
        .room = room,
    };
    int error = loop_add(loop, &notify->watch);
    if (!error)
        return notify;
    free(notify);
    errno = -error;
    return NULL;
}

/* A name that the kernel picks, which nobody else has (unix(7), autobind). 0 or -1 with errno set. */
static int bind_somewhere(int fd, char address[static NOTIFY_ADDRESS])
{
    static const int on = 1;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t length = sizeof name;
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&name, sizeof name.sun_family) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        return -1;
    snprintf(address, NOTIFY_ADDRESS, "@%.*s",
             (int)(length - offsetof(struct sockaddr_un, sun_path) - 1), name.sun_path + 1);
    return 0;
}

struct notify *notify_open(struct loop *loop, uid_t uid, char *status, size_t room)
{
    char address[NOTIFY_ADDRESS];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct notify *notify = NULL;
    if (fd >= 0 && bind_somewhere(fd, address) == 0)
        notify = notify_adopt(loop, fd, uid, status, room);
    if (notify) {
        memcpy(notify->address, address, sizeof address);
    } else if (fd >= 0) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return notify;
}

void notify_close(struct notify *notify)
{
    if (!notify)
        return;
    loop_remove(notify->loop, &notify->watch);
    close(notify->watch.fd);
    free(notify);
}
