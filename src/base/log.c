#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    PATIENCE_MSEC = 50,       /* how long one line may wait for a syslog daemon that is behind */
    STUCK_USEC = 1000 * 1000, /* how long none waits again after one waited in vain */
};

static struct {
    char ident[65];
    int facility;
    int level;
    int syslog_fd; /* -1: none */
    int stderr_fd; /* a copy of the first standard error; -1: none */
    bool to_stderr;
    bool errors_to_stderr;
    bool stderr_is_ours; /* and no child's */
    usec stuck_until;
    unsigned lost; /* lines since the last one that arrived */
} log_state = {
    .ident = "preforkd",
    .facility = LOG_DAEMON,
    .level = LOG_NOTICE,
    .syslog_fd = -1,
    .stderr_fd = -1,
};

static const char *const level_words[] = {
    [LOG_ERR] = "err",   [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

static bool syslog_connect(void)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    static const struct timeval patience = {.tv_usec = PATIENCE_MSEC * 1000};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return false;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    log_state.syslog_fd = fd;
    return true;
}

/* A syslog daemon that is started again has a new socket behind the old name. The new connection
 * takes the old one's number, which the caller may hold on a list. */
static bool syslog_reconnect(void)
{
    int old = log_state.syslog_fd;
    if (!syslog_connect())
        return false;
    dup3(log_state.syslog_fd, old, O_CLOEXEC);
    close(log_state.syslog_fd);
    log_state.syslog_fd = old;
    return true;
}

void log_open(const char *ident, bool to_stderr)
{
    tzset(); /* a worker in a chroot finds no time zone any more */
    snprintf(log_state.ident, sizeof log_state.ident, "%s", ident);
    log_state.stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    log_state.to_stderr = !syslog_connect() || to_stderr;
}

/* Whether standard error is a stream of the journal (systemd.exec(5), JOURNAL_STREAM). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat file;
    if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
        return false;
    return fstat(STDERR_FILENO, &file) == 0 && file.st_dev == device && file.st_ino == inode;
}

void log_errors_to_stderr(bool wanted)
{
    wanted = wanted && !stderr_is_journal();
    if (log_state.errors_to_stderr != wanted)
        log_state.errors_to_stderr = wanted;
}

void log_lend_no_stderr(void)
{
    log_state.stderr_is_ours = true;
}

void log_enter_child(void)
{
    if (log_state.errors_to_stderr)
        log_state.errors_to_stderr = false;
    if (log_state.stderr_is_ours && log_state.to_stderr)
        log_state.to_stderr = false;
}

void log_leave_stderr(void)
{
    if (log_state.stderr_fd >= 0)
        close(log_state.stderr_fd);
    log_state.stderr_fd = -1;
}

void log_configure(const char *ident, int facility, int level)
{
    if (strcmp(log_state.ident, ident) == 0 && log_state.facility == facility &&
        log_state.level == level)
        return; /* a worker's page of memory */
    snprintf(log_state.ident, sizeof log_state.ident, "%s", ident);
    log_state.facility = facility;
    log_state.level = level;
}

int log_descriptors(int fds[static 2])
{
    int count = 0;
    if (log_state.syslog_fd >= 0)
        fds[count++] = log_state.syslog_fd;
    if (log_state.stderr_fd >= 0 && log_state.to_stderr && !log_state.stderr_is_ours)
        fds[count++] = log_state.stderr_fd;
    return count;
}

bool log_wanted(int level)
{
    return level <= log_state.level;
}

int log_escape(char *to, int size, const char *from, int length)
{
    static const char hex[] = "0123456789abcdef";
    int at = 0;
    for (int i = 0; i < length && at + 5 <= size; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c >= 0x20 && c != 0x7f) {
            to[at++] = (char)c;
            continue;
        }
        to[at++] = '\\';
        to[at++] = 'x';
        to[at++] = hex[c >> 4];
        to[at++] = hex[c & 15];
    }
    to[at] = '\0';
    return at;
}

/* One datagram, with bounded patience. 0 or -errno. */
static int syslog_send(const char *line, int length)
{
    bool stuck = log_state.stuck_until && clock_now() < log_state.stuck_until;
    int flags = MSG_NOSIGNAL | (stuck ? MSG_DONTWAIT : 0);
    ssize_t sent;
    do
        sent = send(log_state.syslog_fd, line, (size_t)length, flags);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 0;
    if (errno == EAGAIN)
        log_state.stuck_until = clock_now() + STUCK_USEC;
    return -errno;
}

static int syslog_header(char *to, size_t size, int level)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", localtime_r(&now, &local));
    return snprintf(to, size, "<%d>%s %s[%d]: ", log_state.facility | level, stamp, log_state.ident,
                    (int)getpid());
}

static bool syslog_line(int level, const char *text, int length)
{
    char line[LOG_LINE_MAX + 256];
    int at = syslog_header(line, sizeof line - LOG_LINE_MAX, level);
    memcpy(line + at, text, (size_t)length);
    int error = syslog_send(line, at + length);
    if (error && error != -EAGAIN && syslog_reconnect())
        error = syslog_send(line, at + length);
    return error == 0;
}

static void syslog_event(int level, const char *text, int length)
{
    if (log_state.syslog_fd < 0 && !syslog_connect())
        return;
    if (log_state.lost) {
        char said[128];
        int n = snprintf(said, sizeof said,
                         "the syslog daemon did not take %u lines of the log lost=%u",
                         log_state.lost, log_state.lost);
        if (syslog_line(LOG_WARNING, said, n))
            log_state.lost = 0;
    }
    if (!syslog_line(level, text, length))
        log_state.lost++;
}

/* Writes where that does not block for long: a terminal may be stopped, a pipe unread. */
static void stderr_event(int level, const char *text)
{
    struct pollfd out = {.fd = log_state.stderr_fd, .events = POLLOUT};
    bool stuck = log_state.stuck_until && clock_now() < log_state.stuck_until;
    if (poll(&out, 1, stuck ? 0 : PATIENCE_MSEC) == 0) {
        log_state.stuck_until = clock_now() + STUCK_USEC;
        return;
    }
    dprintf(log_state.stderr_fd, "%s[%d]: %s: %s\n", log_state.ident, (int)getpid(),
            level_words[level], text);
}

void log_event(int level, const char *format, ...)
{
    if (!log_wanted(level))
        return;
    int saved = errno;
    char raw[LOG_LINE_MAX];
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (length >= (int)sizeof raw)
        length = (int)sizeof raw - 1;
    length = log_escape(text, sizeof text, raw, length);
    syslog_event(level, text, length);
    bool to_stderr = log_state.to_stderr || (level <= LOG_ERR && log_state.errors_to_stderr);
    if (to_stderr && log_state.stderr_fd >= 0)
        stderr_event(level, text);
    errno = saved;
}

bool log_rate_ok(struct log_rate *rate, usec interval, unsigned *missed)
{
    usec now = clock_now();
    if (now < rate->next) {
        rate->missed++;
        return false;
    }
    *missed = rate->missed;
    rate->missed = 0;
    rate->next = now + interval;
    return true;
}
