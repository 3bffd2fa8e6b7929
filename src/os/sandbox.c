/* sandbox.c - what a broken node could still do to its host: as little as possible.
 *
 * Landlock: nothing is executed; files are written, made, truncated and removed only below the
 * directories that were named. Reading is not confined, nor is the network.
 *
 * Seccomp: a list of system calls, from traces of the integration tests and from what the C library
 * may use instead. What is not on it fails with EPERM, as if the user had no right to it: a
 * library that tries something new falls back or reports an error, and a promise about durability
 * is kept by the error paths that a failing disk takes, too. Only what no bug does by accident
 * (another program, another process's memory, the kernel itself) ends the process at once. Memory
 * is never made executable; clone makes threads and no namespaces, and clone3, whose flags a filter
 * cannot see, is said not to exist.
 *
 * No libseccomp: the filter is one list of equal comparisons, and the kernel remembers per call
 * what is always allowed. */
#include "os/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_RUNTIME 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_RUNTIME 1
#endif
#endif

const char *al_sandbox_text(unsigned in_force)
{
    static const char *const texts[] = {"none", "landlock", "seccomp", "landlock,seccomp"};

    return texts[in_force & (AL_SANDBOX_FILES | AL_SANDBOX_CALLS)];
}

#ifdef HAS_RUNTIME

unsigned al_sandbox_enter(const char *const *dirs, size_t count)
{
    (void)dirs;
    (void)count;
    return 0;
}

#else

/* ---- landlock --------------------------------------------------------------------------- */

/* By version of the interface; the header may be older than the kernel. */
#define FILES_V1                                                                                   \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |  \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FILES_TRUNCATE (1ull << 14) /* since version 3 */
#define FILES_GRANTED                                                                           \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                           \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
     FILES_TRUNCATE)

static void allow_below(int ruleset, const char *dir, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};

    rule.parent_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return;
    (void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

static bool confine_files(const char *const *dirs, size_t count)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr attr = {.handled_access_fs = FILES_V1};
    int ruleset;
    bool done;

    if (version < 1)
        return false;
    if (version >= 3)
        attr.handled_access_fs |= FILES_TRUNCATE;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr.handled_access_fs, 0);
    if (ruleset < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        allow_below(ruleset, dirs[i], FILES_GRANTED & attr.handled_access_fs);
    allow_below(ruleset, "/proc/self/task", LANDLOCK_ACCESS_FS_WRITE_FILE); /* names of threads */
    done = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return done;
}

/* ---- seccomp ---------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

static const uint16_t allowed[] = {
    /* files */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_openat, SYS_close, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek, SYS_faccessat,
    SYS_readlinkat, SYS_getdents64, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync,
    SYS_sync_file_range, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_renameat2, SYS_linkat,
    SYS_unlinkat, SYS_mkdirat, SYS_fchmod, SYS_fchmodat, SYS_statfs, SYS_fstatfs, SYS_getcwd,
    SYS_umask, SYS_dup, SYS_dup3, SYS_pipe2, SYS_ioctl, SYS_renameat,
#if defined(__x86_64__)
    SYS_open, SYS_link, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink,
    SYS_mkdir, SYS_chmod, SYS_dup2, SYS_poll, SYS_select, SYS_epoll_wait, SYS_time, SYS_arch_prctl,
#endif
    /* waiting, sockets */
    SYS_eventfd2, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_ppoll, SYS_pselect6,
    SYS_timerfd_create, SYS_timerfd_settime, SYS_socket, SYS_socketpair, SYS_bind, SYS_listen,
    SYS_accept, SYS_accept4, SYS_connect, SYS_getsockname, SYS_getpeername, SYS_getsockopt,
    SYS_setsockopt, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
    SYS_shutdown,
    /* memory, threads, signals */
    SYS_munmap, SYS_mlock, SYS_mlock2, SYS_munlock, SYS_mremap, SYS_madvise, SYS_brk, SYS_mincore,
    SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_set_tid_address,
    SYS_membarrier, SYS_exit, SYS_exit_group, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_tgkill, SYS_getpid, SYS_gettid,
    SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_sched_yield,
    SYS_sched_getaffinity, SYS_restart_syscall, SYS_prctl,
    /* questions */
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
    SYS_getrandom, SYS_getrusage, SYS_sysinfo, SYS_uname, SYS_prlimit64, SYS_getrlimit};

/* What nothing does by accident. */
static const uint16_t deadly[] = {SYS_execve,
                                  SYS_execveat,
                                  SYS_ptrace,
                                  SYS_process_vm_readv,
                                  SYS_process_vm_writev,
                                  SYS_init_module,
                                  SYS_finit_module,
                                  SYS_kexec_load,
                                  SYS_bpf,
                                  SYS_mount,
                                  SYS_umount2,
                                  SYS_pivot_root,
                                  SYS_chroot,
                                  SYS_setns,
                                  SYS_unshare,
                                  SYS_reboot,
                                  SYS_swapon,
                                  SYS_add_key,
                                  SYS_keyctl,
                                  SYS_userfaultfd,
                                  SYS_perf_event_open,
                                  SYS_open_by_handle_at};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define FILTER_MAX  (2 * (COUNT(allowed) + COUNT(deadly)) + 40)
#define REFUSED     (SECCOMP_RET_ERRNO | EPERM)

struct program {
    struct sock_filter code[FILTER_MAX];
    unsigned short size;
};

static void put(struct program *program, struct sock_filter line)
{
    program->code[program->size++] = line;
}

static void load(struct program *program, uint32_t offset)
{
    put(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

static void end(struct program *program, uint32_t verdict)
{
    put(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* This call has this verdict. */
static void rule(struct program *program, uint32_t number, uint32_t verdict)
{
    put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    end(program, verdict);
}

/* This call is refused if its argument has any of these bits. */
static void rule_bits(struct program *program, uint32_t number, unsigned argument, uint32_t bits)
{
    uint32_t offset = (uint32_t)(offsetof(struct seccomp_data, args) + 8u * argument);

    put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4));
    load(program, offset); /* the low half: both machines are little-endian */
    put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
    end(program, REFUSED);
    end(program, SECCOMP_RET_ALLOW);
}

static bool confine_calls(void)
{
    static struct program program;
    struct sock_fprog filter;

    program.size = 0;
    load(&program, offsetof(struct seccomp_data, arch));
    put(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    end(&program, SECCOMP_RET_KILL_PROCESS);
    load(&program, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT(allowed); i++)
        rule(&program, allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(deadly); i++)
        rule(&program, deadly[i], SECCOMP_RET_KILL_PROCESS);
    rule(&program, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    rule_bits(&program, SYS_clone, 0,
              CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                  CLONE_NEWPID | CLONE_NEWNET);
    rule_bits(&program, SYS_mprotect, 2, PROT_EXEC);
    /* Libraries are mapped executable when they are loaded; memory without a file never is. */
    put(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 6));
    load(&program, offsetof(struct seccomp_data, args) + 16);
    put(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 3));
    load(&program, offsetof(struct seccomp_data, args) + 24);
    put(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1));
    end(&program, REFUSED);
    end(&program, SECCOMP_RET_ALLOW);
    end(&program, REFUSED);
    filter = (struct sock_fprog){.len = program.size, .filter = program.code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter) ==
           0;
}

#else

static bool confine_calls(void)
{
    return false; /* another machine: no list was made for it */
}

#endif

unsigned al_sandbox_enter(const char *const *dirs, size_t count)
{
    unsigned in_force = 0;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 0;
    if (confine_files(dirs, count))
        in_force |= AL_SANDBOX_FILES;
    if (confine_calls())
        in_force |= AL_SANDBOX_CALLS;
    return in_force;
}

#endif
