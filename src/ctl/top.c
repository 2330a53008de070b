#include "top.h"

#include "../base/clock.h"
#include "../base/text.h"
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

#define PERIOD USEC_SECOND  /* between requests */
#define LATE   (2 * PERIOD) /* until top says that a request has no answer */

/* --- the pager: shows a text's first paragraph always, and as much of the rest as fits -------- */

struct pager {
    long first;           /* the line of the rest to show first; may be set to any number */
    long shown, all;      /* lines of the rest, shown and in all, as of the last pager_print */
    long rows_of_heading; /* rows for the first paragraph: at most half of the screen */
};

static long count_lines(const char *text)
{
    long lines = 0;
    for (; *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "")
        lines++;
    return lines;
}

/* The text after so many lines. */
static const char *skip_lines(const char *text, long lines)
{
    for (; lines > 0 && *text; lines--)
        text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "";
    return text;
}

/* Prints exactly so many lines, with empty ones if the text has fewer. */
static void print_lines(FILE *out, const char *text, long lines)
{
    const char *end = skip_lines(text, lines);
    fwrite(text, 1, (size_t)(end - text), out);
    for (long i = count_lines(text); i < lines; i++)
        fputc('\n', out);
}

/* The lines of the first paragraph, with the empty line after it. */
static long heading_lines(const char *text)
{
    long lines = 0;
    while (*text) {
        bool ends = *text == '\n';
        lines++;
        if (ends)
            break;
        text = skip_lines(text, 1);
    }
    return lines;
}

/* Prints exactly `rows` lines, and corrects `first` so that the text fills them if it is long
 * enough. */
static void pager_print(struct pager *pager, FILE *out, const char *text, long rows)
{
    pager->rows_of_heading = heading_lines(text);
    if (pager->rows_of_heading > rows / 2)
        pager->rows_of_heading = rows / 2;
    pager->shown = rows - pager->rows_of_heading;
    pager->all = count_lines(text) - pager->rows_of_heading;
    long last = pager->all > pager->shown ? pager->all - pager->shown : 0;
    if (pager->first > last)
        pager->first = last;
    if (pager->first < 0)
        pager->first = 0;
    print_lines(out, text, pager->rows_of_heading);
    print_lines(out, skip_lines(text, pager->rows_of_heading + pager->first), pager->shown);
}

/* Moves to the next paragraph of the rest, or from the last one to the first. */
static void pager_next_paragraph(struct pager *pager, const char *text)
{
    long line = pager->rows_of_heading + pager->first;
    bool at_end = pager->first + pager->shown >= pager->all;
    text = skip_lines(text, line);
    while (*text && *text != '\n') {
        text = skip_lines(text, 1);
        line++;
    }
    pager->first = *text && !at_end ? line + 1 - pager->rows_of_heading : 0;
}

/* --- top itself ----------------------------------------------------------------------------- */

struct top {
    const char *path;
    const struct message_request *request;
    bool is_report;
    const char **where;
    sigset_t wait_mask; /* the signal mask while it waits */
    struct link link;   /* fd -1: no request is pending */
    char *answer;       /* the last valid reply; NULL: none yet */
    size_t answer_size;
    time_t answered;     /* when it came; before the first, when top began */
    const char *trouble; /* why there is no newer reply */
    struct text next;    /* collects the next reply */
    usec next_at;        /* when to send the next request */
    usec late_at;        /* when to say that the pending one has no answer */

    struct view_options options;
    struct pager pager;
    bool is_typing; /* the user types the pattern */
    char pattern[64];
};

static volatile sig_atomic_t signalled; /* the last signal that ends top */
static volatile sig_atomic_t resized, stopped;

static void on_signal(int number)
{
    if (number == SIGWINCH || number == SIGCONT)
        resized = 1;
    else if (number == SIGTSTP)
        stopped = 1;
    else
        signalled = number;
}

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};

/* Catches the signals, and blocks them except while top waits. */
static void catch_signals(sigset_t *wait_mask)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
        sigaddset(&blocked, caught[i]);
        sigaction(caught[i], &(struct sigaction){.sa_handler = on_signal}, NULL);
    }
    sigprocmask(SIG_BLOCK, &blocked, wait_mask);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigdelset(wait_mask, caught[i]);
}

/* Lets a signal take its default action. Returns only if the signal stopped the process. */
static void act_by_default(int number)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    sigprocmask(SIG_BLOCK, &one, NULL);
    sigaction(number, &(struct sigaction){.sa_handler = on_signal}, NULL);
}

static const char *const order_words[ORDERS] = {
    [ORDER_TROUBLE] = "trouble", [ORDER_NAME] = "name", [ORDER_BUSY] = "busy",
    [ORDER_QUEUE] = "queue",     [ORDER_P99] = "p99",   [ORDER_DEATHS] = "deaths",
};

static const char *const fold_words[FOLDS] = {
    [FOLD_MANY] = "folded if many", [FOLD_NONE] = "shown", [FOLD_ALL] = "folded"};

/* Prints the bottom line: what the keys do, and which lines are shown. */
static void print_keys(const struct top *top, FILE *out)
{
    const struct pager *pager = &top->pager;
    long last = pager->first + pager->shown;
    if (top->is_typing)
        fprintf(out, "/%s_  (Enter: keep, Escape: all pools)", top->pattern);
    else
        fprintf(out, "q quit  / filter  s sort: %s%s  r reverse  i idle: %s",
                order_words[top->options.order], top->options.reversed ? ", reversed" : "",
                fold_words[top->options.fold]);
    if (pager->all > pager->shown)
        fprintf(out, "  %ld-%ld/%ld", pager->first + 1, last < pager->all ? last : pager->all,
                pager->all);
}

/* A reply as text, from malloc(). NULL: there is none, it is no report, or memory is short. */
static char *render(const struct top *top, const char *answer, size_t size)
{
    if (!answer)
        return NULL;
    return top->is_report ? report_show(answer, size, &top->options) : strdup(answer);
}

/* Shows the last reply, with its time and the daemon's socket above it, and the keys below. */
static void redraw(struct top *top)
{
    struct text page;
    char clock[16] = "";
    struct tm local;
    screen_size(&top->options.rows, &top->options.columns);
    if (!text_open(&page))
        return;
    char *text = render(top, top->answer, top->answer_size);
    if (localtime_r(&top->answered, &local))
        strftime(clock, sizeof clock, "%H:%M:%S", &local);
    fprintf(page.out, "preforkctl top  %s  %s%s%s\n", clock, *top->where, top->trouble ? ": " : "",
            top->trouble ? top->trouble : "");
    pager_print(&top->pager, page.out, text ? text : "",
                top->options.rows > 2 ? top->options.rows - 2 : 0);
    print_keys(top, page.out);
    free(text);
    text = text_close(&page, true);
    if (text)
        screen_show(text, page.size);
    free(text);
}

static void show_trouble(struct top *top, const char *why)
{
    top->trouble = why;
    redraw(top);
}

static void take_text(void *owner, bool is_error, const char *text, size_t size)
{
    struct top *top = owner;
    (void)is_error;
    if (ftello(top->next.out) < REPORT_MAX)
        fwrite(text, 1, size, top->next.out);
}

static int send_request(struct top *top)
{
    top->next_at = clock_now() + PERIOD;
    top->late_at = clock_now() + LATE;
    if (!text_open(&top->next))
        return -errno;
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, &top->wait_mask, &blocked); /* a hanging daemon blocks link_open */
    int error = link_open(&top->link, top->path, top->request, top->where);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    if (error)
        text_close(&top->next, false);
    return error;
}

/* The reply is complete, or has failed. If it is valid, it replaces the last one. */
static void take_answer(struct top *top, int error)
{
    link_close(&top->link);
    char *answer = text_close(&top->next, !error);
    char *text = render(top, answer, top->next.size);
    free(text ? top->answer : answer);
    if (text) {
        top->answer = answer;
        top->answer_size = top->next.size;
        top->answered = time(NULL);
    }
    show_trouble(top, error  ? "the daemon closed the connection"
                      : text ? NULL
                             : "the answer is no report");
    free(text);
}

/* Handles a key while the user types the pattern. */
static void edit_pattern(struct top *top, int key)
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

static void next_table(struct top *top)
{
    char *text = render(top, top->answer, top->answer_size);
    if (text)
        pager_next_paragraph(&top->pager, text);
    free(text);
}

/* Acts on one key. False: top ends. */
static bool handle_key(struct top *top, int key)
{
    struct pager *pager = &top->pager;
    struct view_options *options = &top->options;
    if (top->is_typing) {
        edit_pattern(top, key);
        return true;
    }
    switch (key) {
    case 'q': return false;
    case '/': top->is_typing = true; break;
    case KEY_ESCAPE: top->pattern[0] = '\0'; break;
    case 's': options->order = (options->order + 1) % ORDERS; break;
    case 'r': options->reversed = !options->reversed; break;
    case 'i': options->fold = (options->fold + 1) % FOLDS; break;
    case '\t': next_table(top); break;
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

/* Acts on all keys that were typed. False: top ends. */
static bool read_keys(struct top *top)
{
    struct keys keys;
    int key;
    if (!keys_read(&keys))
        return false;
    while ((key = keys_next(&keys)) != KEY_NONE)
        if (!handle_key(top, key))
            return false;
    redraw(top);
    return true;
}

/* Acts on caught signals. False: top ends. */
static bool handle_signals(struct top *top)
{
    if (signalled) {
        screen_leave();
        act_by_default(signalled);
        return false;
    }
    if (stopped) {
        stopped = 0;
        screen_leave();
        act_by_default(SIGTSTP);
        resized = screen_enter() == 0;
    }
    if (resized) {
        resized = 0;
        redraw(top);
    }
    return true;
}

/* Waits for a key, the reply, or the time of the next request. The wait for a reply has no end, as
 * a daemon that hangs may go on, but top says it. False: top ends. */
static bool wait_once(struct top *top)
{
    if (!handle_signals(top))
        return false;
    bool asking = top->link.fd >= 0;
    struct pollfd ends[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = top->link.fd, .events = POLLIN}};
    usec wake_at = asking ? top->late_at : top->next_at, left = wake_at - clock_now();
    struct timespec timeout = {.tv_sec = left > 0 ? left / USEC_SECOND : 0,
                               .tv_nsec = left > 0 ? left % USEC_SECOND * 1000 : 0};
    int ready = ppoll(ends, 2, &timeout, &top->wait_mask);
    if (ready > 0 && ends[0].revents && !read_keys(top))
        return false;
    if (ready > 0 && ends[1].revents) {
        int more = link_read(&top->link, take_text, top);
        if (more <= 0)
            take_answer(top, more);
    } else if (clock_now() >= wake_at && asking) {
        top->late_at = clock_now() + PERIOD;
        show_trouble(top, "no answer");
    } else if (clock_now() >= wake_at) {
        int error = send_request(top);
        if (error)
            show_trouble(top, strerror(-error));
    }
    return true;
}

int top_run(const char *path, struct message_request *request, bool coloured, const char **where)
{
    struct top top = {.path = path,
                      .request = request,
                      .is_report = report_ask(request),
                      .options = {.coloured = coloured, .live = true},
                      .answered = time(NULL),
                      .where = where};
    top.options.pattern = top.pattern;
    sigprocmask(SIG_SETMASK, NULL, &top.wait_mask);
    int error = send_request(&top);
    if (error)
        return error;
    catch_signals(&top.wait_mask);
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
