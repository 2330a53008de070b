#include "accept_queue.h"

#include "../base/fd.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ANSWER = 32 * 1024, /* the most that the kernel puts into one */
    ANSWERS_MOST = 4096,
    LISTENING = 1 << TCP_LISTEN, /* a Unix socket's state has the same number */
};

static bool add(struct accept_queues *queues, const struct accept_queue *queue)
{
    if (queues->count == queues->room) {
        int more = queues->room ? 2 * queues->room : 64;
        struct accept_queue *list = realloc(queues->list, (size_t)more * sizeof *list);
        if (!list)
            return false;
        queues->list = list;
        queues->room = more;
    }
    queues->list[queues->count++] = *queue;
    return true;
}

/* An attribute behind a message proper of so many bytes; NULL if it has none of this kind with
 * as much in it. */
static const void *find_attribute(const void *data, size_t size, size_t proper, int type,
                                  size_t content)
{
    struct nlattr attribute;
    size_t at = NLMSG_ALIGN(proper);
    while (at + sizeof attribute <= size) {
        memcpy(&attribute, (const char *)data + at, sizeof attribute);
        if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > size - at)
            return NULL;
        if (attribute.nla_type == type && attribute.nla_len >= NLA_HDRLEN + content)
            return (const char *)data + at + NLA_HDRLEN;
        at += NLA_ALIGN(attribute.nla_len);
    }
    return NULL;
}

static bool take_tcp(struct accept_queues *queues, const void *data, size_t size)
{
    struct inet_diag_msg socket;
    if (size < sizeof socket)
        return true;
    memcpy(&socket, data, sizeof socket);
    const uint8_t *shut = find_attribute(data, size, sizeof socket, INET_DIAG_SHUTDOWN, 1);
    struct accept_queue queue = {.inode = socket.idiag_inode,
                                 .depth = (int)socket.idiag_rqueue,
                                 .room = (int)socket.idiag_wqueue,
                                 .half_shut = shut && *shut};
    return add(queues, &queue);
}

static bool take_unix(struct accept_queues *queues, const void *data, size_t size)
{
    struct unix_diag_msg socket;
    struct unix_diag_rqlen lengths;
    if (size < sizeof socket)
        return true;
    memcpy(&socket, data, sizeof socket);
    const void *found = find_attribute(data, size, sizeof socket, UNIX_DIAG_RQLEN, sizeof lengths);
    if (!found)
        return true;
    memcpy(&lengths, found, sizeof lengths);
    struct accept_queue queue = {.inode = socket.udiag_ino,
                                 .depth = (int)lengths.udiag_rqueue,
                                 .room = (int)lengths.udiag_wqueue};
    return add(queues, &queue);
}

typedef bool take_socket(struct accept_queues *queues, const void *data, size_t size);

/* One of the messages that an answer has. 1 if more come, 0 behind the last, or -errno. */
static int take_message(const struct nlmsghdr *message, take_socket *take,
                        struct accept_queues *queues)
{
    if (message->nlmsg_type == NLMSG_DONE)
        return 0;
    if (message->nlmsg_type == NLMSG_ERROR)
        return message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))
                   ? ((const struct nlmsgerr *)NLMSG_DATA(message))->error
                   : -EBADMSG;
    size_t size = message->nlmsg_len - NLMSG_HDRLEN;
    return take(queues, NLMSG_DATA(message), size) ? 1 : -ENOMEM;
}

static int take_answer(const char *answer, size_t size, take_socket *take,
                       struct accept_queues *queues)
{
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)answer;
    int more = 1;
    while (more > 0 && NLMSG_OK(message, size)) {
        more = take_message(message, take, queues);
        size_t step = NLMSG_ALIGN(message->nlmsg_len);
        size = step < size ? size - step : 0;
        message = (const struct nlmsghdr *)(const void *)((const char *)message + step);
    }
    return more;
}

/* Each kind has a socket of its own: what one left unread would be the next one's answer. */
static int dump(const void *question, size_t size, take_socket *take, struct accept_queues *queues)
{
    int netlink __attribute__((cleanup(fd_cleanup))) =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0 || send(netlink, question, size, 0) != (ssize_t)size)
        return -errno;
    char *answer = malloc(ANSWER);
    int more = answer ? 1 : -ENOMEM;
    for (int i = 0; more > 0 && i < ANSWERS_MOST; i++) {
        ssize_t n = recv(netlink, answer, ANSWER, MSG_DONTWAIT);
        more = n < 0 ? -errno : take_answer(answer, (size_t)n, take, queues);
    }
    free(answer);
    return more;
}

static int dump_tcp(int family, struct accept_queues *queues)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } question = {
        .header = {.nlmsg_len = sizeof question,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = (uint8_t)family,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = LISTENING},
    };
    return dump(&question, sizeof question, take_tcp, queues);
}

static int dump_unix(struct accept_queues *queues)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } question = {
        .header = {.nlmsg_len = sizeof question,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = LISTENING,
                    .udiag_show = UDIAG_SHOW_RQLEN},
    };
    return dump(&question, sizeof question, take_unix, queues);
}

static int by_inode(const void *a, const void *b)
{
    uint64_t first = ((const struct accept_queue *)a)->inode,
             second = ((const struct accept_queue *)b)->inode;
    return (first > second) - (first < second);
}

int accept_queues_ask(struct accept_queues *queues)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    int first = 0;
    queues->count = 0;
    for (unsigned i = 0; i < sizeof families / sizeof *families; i++) {
        int error = families[i] == AF_UNIX ? dump_unix(queues) : dump_tcp(families[i], queues);
        first = first ? first : error;
    }
    if (queues->count)
        qsort(queues->list, (size_t)queues->count, sizeof *queues->list, by_inode);
    return first;
}

const struct accept_queue *accept_queues_find(const struct accept_queues *queues, uint64_t inode)
{
    struct accept_queue wanted = {.inode = inode};
    if (!queues->count || !inode)
        return NULL;
    return bsearch(&wanted, queues->list, (size_t)queues->count, sizeof wanted, by_inode);
}

void accept_queues_free(struct accept_queues *queues)
{
    free(queues->list);
    *queues = (struct accept_queues){0};
}
