/*
 * A module for preforkd that supports every model. It keeps short notes, and speaks a protocol of
 * lines:
 *
 *     set NAME TEXT     stores the text
 *     get NAME          answers with the text, or "none"
 *     lane              answers with the number of commands of this lane
 *     count             answers with the number of commands of this connection
 *     pause MSEC        waits this long, or until the client sends more
 *     quit              ends the connection
 *
 * It shows the three kinds of state. The notes belong to the worker: with model = "thread",
 * several lanes may use them at once, so they have a lock. A lane's number of commands needs no
 * lock, in any model. A connection's state is in the variables of serve(), on the connection's own
 * stack; functions that get only the connection find it with host->own().
 */
#include <preforkd/module.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 32, TEXT = 200, NOTES = 1000, LINE = 256 };

struct notes {
    pthread_mutex_t lock;
    int count;
    struct {
        char name[NAME];
        char text[TEXT];
    } at[NOTES];
};

struct line {
    char text[LINE];
    size_t length; /* of what was read */
};

static int start(const struct preforkd_host *host, void **state, char *why, size_t size)
{
    struct notes *notes = calloc(1, sizeof *notes);
    (void)host;
    if (!notes) {
        snprintf(why, size, "out of memory");
        return -1;
    }
    pthread_mutex_init(&notes->lock, NULL);
    *state = notes;
    return 0;
}

static int lane_start(const struct preforkd_host *host, void *state, void **lane, char *why,
                      size_t size)
{
    (void)host, (void)state;
    *lane = calloc(1, sizeof(long));
    if (*lane)
        return 0;
    snprintf(why, size, "out of memory");
    return -1;
}

static void lane_stop(const struct preforkd_host *host, void *state, void *lane)
{
    (void)host, (void)state;
    free(lane);
}

/* The caller holds the lock. Returns NULL if there is no such note. */
static char *find(struct notes *notes, const char *name)
{
    for (int i = 0; i < notes->count; i++)
        if (strcmp(notes->at[i].name, name) == 0)
            return notes->at[i].text;
    return NULL;
}

/* Nothing may wait while the lock is held: a call that waits may switch to another connection. */
static void set(struct notes *notes, const char *name, const char *text, char *answer)
{
    pthread_mutex_lock(&notes->lock);
    char *note = find(notes, name);
    if (!note && notes->count < NOTES) {
        snprintf(notes->at[notes->count].name, NAME, "%s", name);
        note = notes->at[notes->count++].text;
    }
    if (note)
        snprintf(note, TEXT, "%s", text);
    pthread_mutex_unlock(&notes->lock);
    snprintf(answer, LINE, "%s\n", note ? "stored" : "full");
}

static void get(struct notes *notes, const char *name, char *answer)
{
    pthread_mutex_lock(&notes->lock);
    const char *note = find(notes, name);
    snprintf(answer, LINE, "%s\n", note ? note : "none");
    pthread_mutex_unlock(&notes->lock);
}

/* Reads a line into `command`. Returns 1, 0 at the end of the stream, or -errno. */
static int read_line(const struct preforkd_host *host, struct preforkd_conn *conn,
                     struct line *line, char *command)
{
    for (;;) {
        char *end = memchr(line->text, '\n', line->length);
        if (end) {
            size_t length = (size_t)(end - line->text);
            memcpy(command, line->text, length);
            command[length] = '\0';
            line->length -= length + 1;
            memmove(line->text, end + 1, line->length);
            return 1;
        }
        if (line->length == sizeof line->text)
            return -EMSGSIZE;
        ssize_t n = host->read(conn, line->text + line->length, sizeof line->text - line->length);
        if (n <= 0)
            return (int)n;
        line->length += (size_t)n;
    }
}

static void answer_count(const struct preforkd_host *host, struct preforkd_conn *conn, char *answer)
{
    const long *count = *host->own(conn);
    snprintf(answer, LINE, "%ld\n", *count);
}

static void pause_for(const struct preforkd_host *host, struct preforkd_conn *conn, int msec,
                      char *answer)
{
    snprintf(answer, LINE, "%s\n", host->wait(conn, POLLIN, msec) == 0 ? "more" : "nothing");
}

static int serve(const struct preforkd_host *host, struct preforkd_conn *conn, void *state)
{
    struct line line = {.length = 0};
    char command[LINE + 1], answer[LINE], name[NAME], text[TEXT];
    long *of_lane = host->lane(conn), count = 0;
    int n, msec;
    *host->own(conn) = &count;
    while ((n = read_line(host, conn, &line, command)) > 0) {
        ++*of_lane;
        ++count;
        if (sscanf(command, "set %31s %199[^\n]", name, text) == 2)
            set(state, name, text, answer);
        else if (sscanf(command, "get %31s", name) == 1)
            get(state, name, answer);
        else if (strcmp(command, "lane") == 0)
            snprintf(answer, sizeof answer, "%ld\n", *of_lane);
        else if (strcmp(command, "count") == 0)
            answer_count(host, conn, answer);
        else if (sscanf(command, "pause %d", &msec) == 1)
            pause_for(host, conn, msec, answer);
        else if (strcmp(command, "quit") == 0)
            return 0;
        else
            snprintf(answer, sizeof answer, "what?\n");
        int error = host->write(conn, answer, strlen(answer));
        if (error)
            return error;
    }
    return n;
}

static void stop(const struct preforkd_host *host, void *state)
{
    (void)host;
    free(state);
}

const struct preforkd_module preforkd_module = {
    PREFORKD_MODULE_HEAD,
    .start = start,
    .serve = serve,
    .stop = stop,
    .models = PREFORKD_PROCESS | PREFORKD_THREAD | PREFORKD_EVENT,
    .lane_start = lane_start,
    .lane_stop = lane_stop,
};
