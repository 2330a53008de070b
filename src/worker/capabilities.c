#include "capabilities.h"

#include "build-config.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Bits by number. What isn't in it need not be dropped: each drop copies the credentials, and all
 * of them are a tenth of what a worker's start takes. */
static uint64_t bounding;
static int not_learned; /* errno */

#if HAVE_CAPNG

#include <cap-ng.h>
#include <dlfcn.h>

#define LIBCAPNG "libcap-ng.so.0"

static void ask(void *library)
{
    int (*get)(void);
    int (*have)(capng_type_t which, unsigned capability);
    void *found = dlsym(library, "capng_get_caps_process");
    void *found_too = dlsym(library, "capng_have_capability");
    memcpy(&get, &found, sizeof get);
    memcpy(&have, &found_too, sizeof have);
    not_learned = !get || !have ? ELIBBAD : get() != 0 ? EIO : 0;
    for (unsigned i = 0; !not_learned && i <= CAP_LAST_CAP; i++)
        if (have(CAPNG_BOUNDING_SET, i) > 0)
            bounding |= UINT64_C(1) << i;
}

void capabilities_learn(void)
{
    void *library = dlopen(LIBCAPNG, RTLD_NOW | RTLD_LOCAL);
    not_learned = ELIBACC;
    bounding = 0;
    if (!library)
        return;
    ask(library);
    dlclose(library);
}

#else

/* Then the bounding set stays, and no_new_privs alone keeps files from giving anything. */
void capabilities_learn(void)
{
}

#endif

int capabilities_unbound(void)
{
    if (not_learned)
        return -not_learned;
    for (uint64_t left = bounding; left; left &= left - 1)
        if (prctl(PR_CAPBSET_DROP, (unsigned long)__builtin_ctzll(left), 0, 0, 0) != 0)
            return errno == EPERM ? 0 : -errno;
    return 0;
}

enum { WORDS = _LINUX_CAPABILITY_U32S_3 };

static int set_all(uint32_t bits)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[WORDS];
    for (int i = 0; i < WORDS; i++)
        data[i] = (struct __user_cap_data_struct){bits, bits, bits};
    return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

static bool has_any(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[WORDS] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return true;
    for (int i = 0; i < WORDS; i++)
        if (data[i].effective | data[i].permitted | data[i].inheritable)
            return true;
    return false;
}

/* The ambient set follows: the kernel keeps it within the permitted and the inheritable one. Whoever
 * was root has lost all of them by becoming somebody, and spares a copy of the credentials. */
int capabilities_drop(void)
{
    bool had_some = has_any();
    int error = had_some ? set_all(0) : 0;
    if (error)
        return error;
    return set_all(~0U) == 0 || (had_some && has_any()) ? -ENOTRECOVERABLE : 0;
}
