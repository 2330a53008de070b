#include "queue.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of a listening socket the two hold its backlog, and the most of it (tcp_get_info in the kernel). */
static int read_tcp(int listener, int *depth, int *room)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return -errno;
    *depth = (int)info.tcpi_unacked;
    *room = (int)info.tcpi_sacked;
    return 0;
}

struct question {
    struct nlmsghdr header;
    struct unix_diag_req request;
};

/* Asks for the socket by its inode, which is all that names one without a path. */
static int ask_unix(int netlink, ino_t inode)
{
    struct question question = {
        .header = {.nlmsg_len = sizeof question,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = ~0U,
                    .udiag_ino = (uint32_t)inode,
                    .udiag_show = UDIAG_SHOW_RQLEN,
                    .udiag_cookie = {~0U, ~0U}},
    };
    return send(netlink, &question, sizeof question, 0) == (ssize_t)sizeof question ? 0 : -errno;
}

static int take_answer(const struct nlmsghdr *answer, size_t size, int *depth, int *room)
{
    if (!NLMSG_OK(answer, size))
        return -EBADMSG;
    if (answer->nlmsg_type == NLMSG_ERROR)
        return ((const struct nlmsgerr *)NLMSG_DATA(answer))->error;
    const char *at = (const char *)NLMSG_DATA(answer) + NLMSG_ALIGN(sizeof(struct unix_diag_msg));
    const char *end = (const char *)answer + answer->nlmsg_len;
    while (end - at >= (ssize_t)sizeof(struct nlattr)) {
        struct nlattr attribute;
        struct unix_diag_rqlen lengths;
        memcpy(&attribute, at, sizeof attribute);
        if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > end - at)
            break;
        if (attribute.nla_type == UNIX_DIAG_RQLEN &&
            attribute.nla_len >= NLA_HDRLEN + sizeof lengths) {
            memcpy(&lengths, at + NLA_HDRLEN, sizeof lengths);
            *depth = (int)lengths.udiag_rqueue;
            *room = (int)lengths.udiag_wqueue;
            return 0;
        }
        at += NLA_ALIGN(attribute.nla_len);
    }
    return -ENODATA;
}

static int read_unix(int listener, int *depth, int *room)
{
    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    struct stat stat_now;
    if (fstat(listener, &stat_now) != 0)
        return -errno;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0)
        return -errno;
    int error = ask_unix(netlink, stat_now.st_ino);
    ssize_t n = error ? 0 : recv(netlink, &answer, sizeof answer, MSG_DONTWAIT);
    if (n < 0)
        error = -errno;
    close(netlink);
    return error ? error : take_answer(&answer.header, (size_t)n, depth, room);
}

int queue_read(int listener, int *depth, int *room)
{
    int family = 0;
    socklen_t size = sizeof family;
    if (getsockopt(listener, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0)
        return -errno;
    return family == AF_UNIX ? read_unix(listener, depth, room) : read_tcp(listener, depth, room);
}
