#include "sysd.h"

#include "build-config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDED_ON "PREFORKD_SOCKETS"

static char *notify_socket;
static struct sysd_socket *passed;
static int passed_count;
static usec watchdog_period;

const struct sysd_socket *sysd_socket(int index)
{
    return &passed[index];
}

int sysd_socket_count(void)
{
    return passed_count;
}

int sysd_add_socket(int fd, const char *name)
{
    struct sysd_socket *more = reallocarray(passed, (size_t)passed_count + 1, sizeof *passed);
    if (!more)
        return -ENOMEM;
    passed = more;
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    passed[passed_count++] = (struct sysd_socket){.fd = fd, .name = copy};
    return 0;
}

void sysd_forget_socket(int index)
{
    free((char *)passed[index].name);
    passed_count--;
    memmove(&passed[index], &passed[index + 1], (size_t)(passed_count - index) * sizeof *passed);
}

/* Writes "5=http:6=https". A name contains no colon (systemd.socket(5)). */
static void hand_on_sockets(void)
{
    char *text;
    size_t size;
    FILE *out = passed_count ? open_memstream(&text, &size) : NULL;
    if (!out)
        return;
    for (int i = 0; i < passed_count; i++)
        fprintf(out, "%s%d=%s", i ? ":" : "", passed[i].fd, passed[i].name);
    if (fclose(out) == 0)
        setenv(HANDED_ON, text, true);
    free(text);
}

int sysd_take_handed_on(void)
{
    const char *value = getenv(HANDED_ON);
    char *text = value ? strdup(value) : NULL, *rest = text, *word, *end;
    int error = value && !text ? -ENOMEM : 0;
    unsetenv(HANDED_ON);
    passed_count = 0;
    while (!error && rest && (word = strsep(&rest, ":"))) {
        long fd = strtol(word, &end, 10);
        error =
            *end == '=' && fd > 2 && fd <= INT_MAX ? sysd_add_socket((int)fd, end + 1) : -EINVAL;
    }
    free(text);
    return error;
}

void sysd_hand_on(void)
{
    char period[24];
    hand_on_sockets();
    if (notify_socket)
        setenv("NOTIFY_SOCKET", notify_socket, true);
    snprintf(period, sizeof period, "%lld", (long long)watchdog_period * 2);
    if (watchdog_period)
        setenv("WATCHDOG_USEC", period, true);
}

void sysd_take_back(void)
{
    unsetenv(HANDED_ON);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

usec sysd_watchdog_period(void)
{
    return watchdog_period;
}

/* All services share the queue of systemd's socket, which may have room for only ten messages
 * (unix(7), max_dgram_qlen), and sd_notify(3) waits for room without limit: so a hanging systemd
 * would hang the master. We wait this long. After a timeout, we don't wait at all until there is
 * room again. */
enum { TIMEOUT_MSEC = 5000 };

#if HAVE_SYSTEMD

#include <dlfcn.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* libsystemd loads seven more libraries, and each worker's page tables get a copy of every page
 * that loading writes to. So libsystemd stays loaded only while it is used. */
#define LIBSYSTEMD "libsystemd.so.0"

static void *library;

/* Looks up a function of libsystemd, loading the library if needed; stores NULL if that fails.
 * Stores the address through an object pointer, as POSIX requires for dlsym(3). */
static bool find(const char *name, void *function)
{
    if (!library)
        library = dlopen(LIBSYSTEMD, RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, name) : NULL;
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

static void leave_library(void)
{
    if (library)
        dlclose(library);
    library = NULL;
}

static int take_sockets(void)
{
    int (*listen_fds)(int unset, char ***names);
    char **names = NULL;
    if (!getenv("LISTEN_FDS"))
        return 0;
    if (!find("sd_listen_fds_with_names", &listen_fds))
        return -ELIBACC;
    int count = listen_fds(true, &names);
    if (count <= 0)
        return count;
    passed = calloc((size_t)count, sizeof *passed);
    if (!passed)
        return -ENOMEM;
    for (int i = 0; i < count; i++)
        passed[i] = (struct sysd_socket){.fd = SD_LISTEN_FDS_START + i, .name = names[i]};
    free(names);
    passed_count = count;
    return count;
}

int sysd_open(void)
{
    int (*watchdog_enabled)(int unset, uint64_t *period);
    uint64_t period = 0;
    const char *socket = getenv("NOTIFY_SOCKET");
    if (socket)
        notify_socket = strdup(socket);
    unsetenv("NOTIFY_SOCKET");
    if (getenv("WATCHDOG_USEC") && find("sd_watchdog_enabled", &watchdog_enabled) &&
        watchdog_enabled(true, &period) > 0)
        watchdog_period = (usec)period / 2;
    int count = take_sockets();
    leave_library();
    return count;
}

/* Looks up a function that sends to systemd, and sets NOTIFY_SOCKET for it. No child may see that
 * variable: the function's argument `unset` unsets it again. */
static bool lend_socket(const char *name, void *function)
{
    return notify_socket && find(name, function) &&
           setenv("NOTIFY_SOCKET", notify_socket, true) == 0;
}

/* A non-blocking socket; -1: there is no systemd. */
static int connect_notify(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = notify_socket ? strlen(notify_socket) : 0;
    if (length == 0 || length >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, notify_socket, length);
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Waits for room: systemd makes room when it reads, and otherwise the timeout ends the wait. */
static bool has_room(int fd, int timeout)
{
    static bool stuck;
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    int found = poll(&out, 1, stuck ? 0 : timeout);
    if (found > 0)
        stuck = false;
    else if (timeout > 0)
        stuck = true;
    return found > 0;
}

__attribute__((format(printf, 2, 0))) static bool notify(int timeout, const char *format,
                                                         va_list args)
{
    char text[1024];
    int fd = connect_notify();
    if (fd < 0)
        return true;
    int length = vsnprintf(text, sizeof text, format, args);
    size_t size = length < (int)sizeof text ? (size_t)length : sizeof text - 1;
    /* Another service may take the room first. */
    ssize_t sent = -1;
    for (int i = 0; sent < 0 && i < 100 && has_room(fd, timeout); i++)
        sent = send(fd, text, size, MSG_NOSIGNAL);
    close(fd);
    return sent >= 0;
}

/* libsystemd sends the descriptors. It blocks only if another service took the room that we saw,
 * and then only until systemd reads next. */
void sysd_store(const struct sysd_socket *sockets, int count)
{
    int (*send_fds)(pid_t pid, int unset, const char *state, const int *fds, unsigned count);
    char text[512];
    int fd = connect_notify();
    for (int i = 0; fd >= 0 && i < count && has_room(fd, TIMEOUT_MSEC); i++) {
        snprintf(text, sizeof text, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", sockets[i].name);
        if (lend_socket("sd_pid_notify_with_fds", &send_fds))
            send_fds(0, true, text, &sockets[i].fd, 1);
    }
    if (fd >= 0)
        close(fd);
    leave_library();
}

void sysd_await(void)
{
    int (*barrier)(int unset, uint64_t timeout);
    if (lend_socket("sd_notify_barrier", &barrier))
        barrier(true, 5 * USEC_SECOND);
    leave_library();
}

#else

int sysd_open(void)
{
    return 0;
}

static bool notify(int timeout, const char *format, va_list args)
{
    (void)timeout, (void)format, (void)args;
    return true;
}

void sysd_store(const struct sysd_socket *sockets, int count)
{
    (void)sockets, (void)count;
}

void sysd_await(void)
{
}

#endif

void sysd_notify(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    notify(TIMEOUT_MSEC, format, args);
    va_end(args);
}

bool sysd_try_notify(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool sent = notify(0, format, args);
    va_end(args);
    return sent;
}

void sysd_unstore(const char *name)
{
    sysd_notify("FDSTOREREMOVE=1\nFDNAME=%s", name);
}
