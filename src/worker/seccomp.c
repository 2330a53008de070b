#include "seccomp.h"

#include "build-config.h"

#if HAVE_SECCOMP

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp-lists.h" /* serve_list, report_list */

static const struct sock_fprog lists[] = {
    [CALLS_SERVE] = {sizeof serve_list / sizeof *serve_list, (struct sock_filter *)serve_list},
    [CALLS_REPORT] = {sizeof report_list / sizeof *report_list, (struct sock_filter *)report_list},
};

bool seccomp_filter_exists(enum handler_calls calls)
{
    return calls != CALLS_ANY;
}

int seccomp_filter_load(enum handler_calls calls)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &lists[calls]) == 0 ? 0 : -errno;
}

#else

bool seccomp_filter_exists(enum handler_calls calls)
{
    (void)calls;
    return false;
}

int seccomp_filter_load(enum handler_calls calls)
{
    (void)calls;
    return 0;
}

#endif
