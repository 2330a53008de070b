#include "top.h"

#include "link.h"
#include "report.h"
#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD = 1000 }; /* ms */

/* --- the pager: of a text its first paragraph always, of the rest as many lines as fit ------------- */

struct pager {
    long first;           /* the line of the rest at the top; the caller may set it to any */
    long shown, all;      /* lines of the rest, by the last pager_print */
    long rows_of_heading; /* of the first paragraph: at most half of the room */
};

static long lines_of(const char *text)
{
    long lines = 0;
    for (; *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "")
        lines++;
    return lines;
}

/* What follows so many lines. */
static const char *behind(const char *text, long lines)
{
    for (; lines > 0 && *text; lines--)
        text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "";
    return text;
}

/* Prints so many lines, and empty ones if the text has fewer. */
static void print_lines(FILE *out, const char *text, long lines)
{
    const char *end = behind(text, lines);
    fwrite(text, 1, (size_t)(end - text), out);
    for (long i = lines_of(text); i < lines; i++)
        fputc('\n', out);
}

/* Lines up to the first empty one, and that. */
static long heading_of(const char *text)
{
    long lines = 0;
    while (*text) {
        bool ends = *text == '\n';
        lines++;
        if (ends)
            break;
        text = behind(text, 1);
    }
    return lines;
}

/* Prints exactly `rows` lines of the text, and corrects `first` to one that fills them if there are
 * enough. */
static void pager_print(struct pager *pager, FILE *out, const char *text, long rows)
{
    pager->rows_of_heading = heading_of(text);
    if (pager->rows_of_heading > rows / 2)
        pager->rows_of_heading = rows / 2;
    pager->shown = rows - pager->rows_of_heading;
    pager->all = lines_of(text) - pager->rows_of_heading;
    long last = pager->all > pager->shown ? pager->all - pager->shown : 0;
    if (pager->first > last)
        pager->first = last;
    if (pager->first < 0)
        pager->first = 0;
    print_lines(out, text, pager->rows_of_heading);
    print_lines(out, behind(text, pager->rows_of_heading + pager->first), pager->shown);
}

/* Moves to the beginning of the next paragraph of the rest, or from the last one to the first. */
static void pager_next_paragraph(struct pager *pager, const char *text)
{
    long line = pager->rows_of_heading + pager->first;
    bool at_end = pager->first + pager->shown >= pager->all;
    text = behind(text, line);
    while (*text && *text != '\n') {
        text = behind(text, 1);
        line++;
    }
    pager->first = *text && !at_end ? line + 1 - pager->rows_of_heading : 0;
}

struct top {
    const char *path;
    const struct message_request *request;
    bool is_report;
    const char **where;
    sigset_t open;    /* signals, while it waits */
    struct link link; /* fd -1: nothing is asked for */
    char *answer;     /* the last one that is fit to be shown; NULL: none yet */
    size_t answer_size;
    const char *trouble; /* why there is no newer one */
    FILE *coming;        /* the next one */
    char *next;
    size_t next_size;
    long long next_at; /* ms: when to ask again */

    struct wish wish;
    struct pager pager;
    bool is_typing; /* the pattern */
    char pattern[64];
};

static volatile sig_atomic_t signalled; /* the last signal that ends top */
static volatile sig_atomic_t resized, stopped;

static void note(int number)
{
    if (number == SIGWINCH || number == SIGCONT)
        resized = 1;
    else if (number == SIGTSTP)
        stopped = 1;
    else
        signalled = number;
}

static const int noted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};

/* These signals are unblocked while top waits, and nowhere else. */
static void take_signals(sigset_t *open)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof noted / sizeof *noted; i++) {
        sigaddset(&blocked, noted[i]);
        sigaction(noted[i], &(struct sigaction){.sa_handler = note}, NULL);
    }
    sigprocmask(SIG_BLOCK, &blocked, open);
    for (size_t i = 0; i < sizeof noted / sizeof *noted; i++)
        sigdelset(open, noted[i]);
}

/* Lets a signal do to this process what it does by default. */
static void take_default(int number)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    /* Only a signal that stops a process gets here. */
    sigprocmask(SIG_BLOCK, &one, NULL);
    sigaction(number, &(struct sigaction){.sa_handler = note}, NULL);
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static const char *const order_words[ORDERS] = {
    [ORDER_TROUBLE] = "trouble", [ORDER_NAME] = "name", [ORDER_BUSY] = "busy",
    [ORDER_QUEUE] = "queue",     [ORDER_P99] = "p99",   [ORDER_DEATHS] = "deaths",
};

static const char *const fold_words[FOLDS] = {
    [FOLD_MANY] = "folded if many", [FOLD_NONE] = "shown", [FOLD_ALL] = "folded"};

/* The line at the bottom: what the keys do, and which lines are shown. */
static void print_keys(const struct top *top, FILE *out)
{
    const struct pager *pager = &top->pager;
    long last = pager->first + pager->shown;
    if (top->is_typing)
        fprintf(out, "/%s_  (Enter: keep, Escape: all pools)", top->pattern);
    else
        fprintf(out, "q quit  / filter  s sort: %s%s  r reverse  i idle: %s",
                order_words[top->wish.order], top->wish.reversed ? ", reversed" : "",
                fold_words[top->wish.fold]);
    if (pager->all > pager->shown)
        fprintf(out, "  %ld-%ld/%ld", pager->first + 1, last < pager->all ? last : pager->all,
                pager->all);
}

/* Of an answer; from malloc(), or NULL. */
static char *view(const struct top *top, const char *answer, size_t size)
{
    return top->is_report ? report_show(answer, size, &top->wish) : strdup(answer);
}

/* Shows the answer, above it the time and the daemon's socket, and below it the keys. */
static void show(struct top *top)
{
    char *page = NULL;
    size_t size = 0;
    char clock[16] = "";
    time_t now = time(NULL);
    struct tm local;
    screen_size(&top->wish.rows, &top->wish.columns);
    char *text = top->answer ? view(top, top->answer, top->answer_size) : NULL;
    FILE *out = open_memstream(&page, &size);
    if (!out) {
        free(text);
        return;
    }
    if (localtime_r(&now, &local))
        strftime(clock, sizeof clock, "%H:%M:%S", &local);
    fprintf(out, "preforkctl top  %s  %s%s%s\n", clock, *top->where, top->trouble ? ": " : "",
            top->trouble ? top->trouble : "");
    pager_print(&top->pager, out, text ? text : "", top->wish.rows > 2 ? top->wish.rows - 2 : 0);
    print_keys(top, out);
    if (fclose(out) == 0)
        screen_show(page, size);
    free(page);
    free(text);
}

static void gather(void *owner, bool is_error, const char *text, size_t size)
{
    struct top *top = owner;
    (void)is_error;
    if (ftello(top->coming) < REPORT_MAX)
        fwrite(text, 1, size, top->coming);
}

static int ask(struct top *top)
{
    top->next_at = now_ms() + PERIOD;
    top->coming = open_memstream(&top->next, &top->next_size);
    if (!top->coming)
        return -errno;
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, &top->open, &blocked); /* a daemon that hangs makes it wait */
    int error = link_open(&top->link, top->path, top->request, top->where);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    if (error) {
        fclose(top->coming);
        free(top->next);
    }
    return error;
}

/* The reply is here, or won't be: if it can be shown it takes the place of the last one. */
static void take_answer(struct top *top, int error)
{
    link_close(&top->link);
    bool whole = fclose(top->coming) == 0 && !error;
    char *text = whole ? view(top, top->next, top->next_size) : NULL;
    free(text ? top->answer : top->next);
    if (text) {
        top->answer = top->next;
        top->answer_size = top->next_size;
    }
    top->trouble = error  ? "the daemon closed the connection"
                   : text ? NULL
                          : "the answer is no report";
    free(text);
    show(top);
}

static void read_answer(struct top *top)
{
    int more = link_read(&top->link, gather, top);
    if (more <= 0)
        take_answer(top, more);
}

static void ask_again(struct top *top)
{
    int error = ask(top);
    if (!error)
        return;
    top->trouble = strerror(-error);
    show(top);
}

/* A key of the pattern. */
static void edit(struct top *top, int key)
{
    size_t length = strlen(top->pattern);
    if (key == KEY_ESCAPE)
        top->pattern[0] = '\0';
    if (key == KEY_ESCAPE || key == '\n' || key == '\r')
        top->is_typing = false;
    else if (key == 0x7f || key == '\b')
        while (length && ((unsigned char)top->pattern[--length] & 0xc0) == 0x80)
            continue;
    else if (key >= 0x20 && key < KEY_NONE && length + 1 < sizeof top->pattern)
        top->pattern[length++] = (char)key;
    if (top->is_typing)
        top->pattern[length] = '\0';
    top->pager.first = 0;
}

static void jump(struct top *top)
{
    char *text = top->answer ? view(top, top->answer, top->answer_size) : NULL;
    if (text)
        pager_next_paragraph(&top->pager, text);
    free(text);
}

/* False: top ends. */
static bool obey_key(struct top *top, int key)
{
    struct pager *pager = &top->pager;
    struct wish *wish = &top->wish;
    if (top->is_typing) {
        edit(top, key);
        return true;
    }
    switch (key) {
    case 'q': return false;
    case '/': top->is_typing = true; break;
    case KEY_ESCAPE: top->pattern[0] = '\0'; break;
    case 's': wish->order = (wish->order + 1) % ORDERS; break;
    case 'r': wish->reversed = !wish->reversed; break;
    case 'i': wish->fold = (wish->fold + 1) % FOLDS; break;
    case '\t': jump(top); break;
    case KEY_UP: pager->first--; break;
    case KEY_DOWN: pager->first++; break;
    case KEY_PAGE_UP: pager->first -= pager->shown; break;
    case ' ':
    case KEY_PAGE_DOWN: pager->first += pager->shown; break;
    case KEY_HOME: pager->first = 0; break;
    case KEY_END: pager->first = pager->all; break;
    default: break;
    }
    return true;
}

/* False: top ends. */
static bool read_keys(struct top *top)
{
    struct keys keys;
    int key;
    if (!keys_read(&keys, STDIN_FILENO))
        return false;
    while ((key = keys_next(&keys)) != KEY_NONE)
        if (!obey_key(top, key))
            return false;
    show(top);
    return true;
}

/* Does what signals ask for. False: top ends. */
static bool obey_signals(struct top *top)
{
    if (signalled) {
        screen_leave();
        take_default(signalled);
        return false;
    }
    if (stopped) {
        stopped = 0;
        screen_leave();
        take_default(SIGTSTP);
        resized = screen_enter() == 0;
    }
    if (resized) {
        resized = 0;
        show(top);
    }
    return true;
}

/* Waits for a key, for the answer, or for the time to ask again. False: top ends. */
static bool wait_once(struct top *top)
{
    if (!obey_signals(top))
        return false;
    struct pollfd ends[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = top->link.fd, .events = POLLIN}};
    long long left = top->next_at - now_ms();
    struct timespec timeout = {.tv_sec = left > 0 ? left / 1000 : 0,
                               .tv_nsec = left > 0 ? left % 1000 * 1000000 : 0};
    bool asking = top->link.fd >= 0;
    int ready = ppoll(ends, 2, asking ? NULL : &timeout, &top->open);
    if (ready > 0 && ends[0].revents && !read_keys(top))
        return false;
    if (ready > 0 && ends[1].revents)
        read_answer(top);
    else if (!asking && now_ms() >= top->next_at)
        ask_again(top);
    return true;
}

int top_run(const char *path, struct message_request *request, bool coloured, const char **where)
{
    struct top top = {.path = path,
                      .request = request,
                      .is_report = report_ask(request),
                      .wish = {.coloured = coloured, .live = true},
                      .where = where};
    top.wish.pattern = top.pattern;
    sigprocmask(SIG_SETMASK, NULL, &top.open);
    int error = ask(&top);
    if (error)
        return error;
    take_signals(&top.open);
    error = screen_enter();
    if (error) {
        *where = "the terminal";
        return error;
    }
    atexit(screen_leave);
    while (wait_once(&top))
        continue;
    screen_leave();
    free(top.answer);
    return 0;
}
