#include "accept_queue.h"

#include "../base/arena.h"
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
#include <sys/uio.h>
#include <unistd.h>

enum {
    ANSWER = 32 * 1024, /* the kernel's answers are no longer */
    ANSWERS_MOST = 4096,
    LISTENING = 1 << TCP_LISTEN, /* Unix sockets use the same number */
};

static bool add(struct accept_queues *queues, const struct accept_queue *queue)
{
    if (!list_grow(&queues->list, &queues->room, (uint32_t)queues->count + 1, sizeof *queue))
        return false;
    queues->list[queues->count++] = *queue;
    return true;
}

/* Finds an attribute of this type after the message's header; NULL if there is none with as much
 * content. */
static const void *find_attribute(const void *data, size_t size, size_t header, int type,
                                  size_t content)
{
    struct nlattr attribute;
    size_t at = NLMSG_ALIGN(header);
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

/* Takes the messages of one answer. 1 if another answer follows, 0 after the last, or -errno. */
static int take_answer(const char *answer, size_t size, take_socket *take,
                       struct accept_queues *queues)
{
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)answer;
    while (NLMSG_OK(message, size)) {
        if (message->nlmsg_type == NLMSG_DONE)
            return 0;
        if (message->nlmsg_type == NLMSG_ERROR)
            return message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))
                       ? ((const struct nlmsgerr *)NLMSG_DATA(message))->error
                       : -EBADMSG;
        if (!take(queues, NLMSG_DATA(message), message->nlmsg_len - NLMSG_HDRLEN))
            return -ENOMEM;
        size_t step = NLMSG_ALIGN(message->nlmsg_len);
        size = step < size ? size - step : 0;
        message = (const struct nlmsghdr *)(const void *)((const char *)message + step);
    }
    return 1;
}

/* Each request has a socket of its own, because an answer left unread would be taken for the next
 * request's. */
static int dump(const void *request, size_t size, take_socket *take, struct accept_queues *queues)
{
    struct nlmsghdr header = {.nlmsg_len = NLMSG_LENGTH((uint32_t)size),
                              .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP};
    const struct iovec parts[] = {{&header, sizeof header}, {(void *)request, size}};
    int netlink __attribute__((cleanup(fd_cleanup))) =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0 || writev(netlink, parts, 2) != (ssize_t)header.nlmsg_len)
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

static int dump_family(int family, struct accept_queues *queues)
{
    const struct inet_diag_req_v2 tcp = {
        .sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = LISTENING};
    const struct unix_diag_req local = {
        .sdiag_family = AF_UNIX, .udiag_states = LISTENING, .udiag_show = UDIAG_SHOW_RQLEN};
    return family == AF_UNIX ? dump(&local, sizeof local, take_unix, queues)
                             : dump(&tcp, sizeof tcp, take_tcp, queues);
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
        int error = dump_family(families[i], queues);
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
