/* A stand-in for libnvidia-ml.so.1, driven by the file that HELIOTROPE_NVML_SCENARIO names, so that the real ctypes path of
 * nvidia-ml-py runs without a GPU. The file is read again whenever it was replaced; one "key value" per line:
 *
 *   init 18                     what nvmlInitWithFlags returns
 *   count 2                     GPUs
 *   cost_us 50                  processor time that each call takes; cost_us.NAME (as code.NAME; values: each field) goes before it
 *   gpu0.uuid GPU-a             gpu0.power_mw 250000
 *   gpu0.energy_mj 1000         the counter at gpu0.epoch_ns (CLOCK_MONOTONIC); it goes on with power_mw, in steps of 100 ms
 *   gpu0.code.NAME 15           return code of: device, values, energy, energy191, energy_call, instant, average, power_call,
 *                               instant_module, average_module, energy_module, processes, utilization
 *   gpu0.hang 1                 field reads never return
 *   gpu0.process 123 1048576 60 pid, bytes, SM percent (several lines)
 *   gpu0.mig 7                  MIG on, that many slices; gpu0.instance MIG-a 3 : UUID, slices (several lines)
 *   gpu0.tenant 0 123 1048576   process of an instance: instance number, pid, bytes (several lines)
 *   gpu0.limit_range_mw 100000 700000   power limits that it takes; the highest is its default
 *   gpu0.limit_step_mw 5000     a limit is rounded down to these; gpu0.ceiling_mw 300000: enforced at most
 *   gpu0.hang_set 1             setting a limit never returns: 1 before, 2 after it is done
 *   gpu0.vanish_set 1           setting a limit ends the process: 1 before, 2 after it is done
 * Limits outlive their processes, as a real GPU's do: they lie in the file SCENARIO.limits, one line of 15 digits (mW) each.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPUS = 16, ITEMS = 16, CODES = 15 };

static const char *const code_names[CODES] = {"device",         "values",         "energy",        "energy191", "energy_call",
                                              "instant",        "average",        "power_call",    "instant_module",
                                              "average_module", "energy_module",  "processes",     "utilization",
                                              "limit",          "limit_set"};
enum { C_DEVICE, C_VALUES, C_ENERGY, C_ENERGY191, C_ENERGY_CALL, C_INSTANT, C_AVERAGE, C_POWER_CALL, C_INSTANT_MODULE,
       C_AVERAGE_MODULE, C_ENERGY_MODULE, C_PROCESSES, C_UTILIZATION, C_LIMIT, C_LIMIT_SET };

typedef struct { unsigned pid, percent; unsigned long long bytes; int instance; } Process;
typedef struct { char uuid[80]; unsigned slices; } Instance;
typedef struct {
    char uuid[80];
    double power_mw, energy_mj, epoch_ns;
    unsigned lowest_mw, highest_mw, step_mw, ceiling_mw;
    int hang_set, vanish_set, codes[CODES], hang, mig, process_count, instance_count;
    Process processes[ITEMS];
    Instance instances[ITEMS];
} Gpu;

static Gpu gpus[GPUS];
static int gpu_count, init_code;
static long cost_us, costs_us[CODES];
static struct stat seen;

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void gpu_line(Gpu *gpu, const char *key, const char *value) {
    unsigned a, b;
    unsigned long long c;
    char text[80];
    if (!strcmp(key, "uuid")) snprintf(gpu->uuid, sizeof gpu->uuid, "%.79s", value);
    else if (!strcmp(key, "power_mw")) gpu->power_mw = atof(value);
    else if (!strcmp(key, "energy_mj")) gpu->energy_mj = atof(value);
    else if (!strcmp(key, "epoch_ns")) gpu->epoch_ns = atof(value);
    else if (!strcmp(key, "hang")) gpu->hang = atoi(value);
    else if (!strcmp(key, "limit_range_mw")) sscanf(value, "%u %u", &gpu->lowest_mw, &gpu->highest_mw);
    else if (!strcmp(key, "limit_step_mw")) gpu->step_mw = atoi(value);
    else if (!strcmp(key, "ceiling_mw")) gpu->ceiling_mw = atoi(value);
    else if (!strcmp(key, "hang_set")) gpu->hang_set = atoi(value);
    else if (!strcmp(key, "vanish_set")) gpu->vanish_set = atoi(value);
    else if (!strcmp(key, "mig")) gpu->mig = atoi(value);
    else if (!strcmp(key, "process") && sscanf(value, "%u %llu %u", &a, &c, &b) == 3)
        gpu->processes[gpu->process_count++] = (Process){a, b, c, -1};
    else if (!strcmp(key, "tenant") && sscanf(value, "%u %u %llu", &b, &a, &c) == 3)
        gpu->processes[gpu->process_count++] = (Process){a, 0, c, (int)b};
    else if (!strcmp(key, "instance") && sscanf(value, "%79s %u", text, &a) == 2) {
        Instance *instance = &gpu->instances[gpu->instance_count++];
        snprintf(instance->uuid, sizeof instance->uuid, "%s", text);
        instance->slices = a;
    } else if (!strncmp(key, "code.", 5))
        for (int i = 0; i < CODES; i++)
            if (!strcmp(key + 5, code_names[i])) gpu->codes[i] = atoi(value);
}

static void load(void) {
    const char *path = getenv("HELIOTROPE_NVML_SCENARIO");
    struct stat found;
    if (!path || stat(path, &found)) return;
    if (found.st_ino == seen.st_ino && found.st_mtim.tv_nsec == seen.st_mtim.tv_nsec) return;
    seen = found;
    FILE *file = fopen(path, "r");
    if (!file) return;
    memset(gpus, 0, sizeof gpus);
    gpu_count = init_code = 0;
    cost_us = 0;
    for (int i = 0; i < CODES; i++) costs_us[i] = -1;
    char line[256], key[96], value[160];
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%95s %159[^\n]", key, value) != 2) continue;
        unsigned index;
        int used = 0;
        if (sscanf(key, "gpu%u.%n", &index, &used) == 1 && used && index < GPUS) gpu_line(&gpus[index], key + used, value);
        else if (!strcmp(key, "count")) gpu_count = atoi(value);
        else if (!strcmp(key, "init")) init_code = atoi(value);
        else if (!strcmp(key, "cost_us")) cost_us = atol(value);
        else if (!strncmp(key, "cost_us.", 8))
            for (int i = 0; i < CODES; i++)
                if (!strcmp(key + 8, code_names[i])) costs_us[i] = atol(value);
    }
    fclose(file);
}

/* Keep the processor busy for as long as the real call does. */
static void spend(int which, int times) {
    long each_us = which >= 0 && costs_us[which] >= 0 ? costs_us[which] : cost_us;
    struct timespec t;
    if (each_us <= 0) return;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    double until_us = t.tv_sec * 1e6 + t.tv_nsec / 1e3 + (double)each_us * times;
    do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while (t.tv_sec * 1e6 + t.tv_nsec / 1e3 < until_us);
}

/* A handle is the GPU's number + 1, and for a MIG instance its number + 1 times 256 above that. */
static Gpu *gpu_for(void *handle, int which, int times) {
    load();
    spend(which, times);
    return &gpus[(((uintptr_t)handle) & 255) - 1];
}

static Gpu *gpu_of(void *handle) { return gpu_for(handle, -1, 1); }

static int instance_of(void *handle) { return (int)(((uintptr_t)handle) >> 8) - 1; }

static int code(const Gpu *gpu, int which) { return gpu->codes[C_DEVICE] ? gpu->codes[C_DEVICE] : gpu->codes[which]; }

static unsigned long long energy_mj(const Gpu *gpu) {
    double elapsed_s = (now_ns() - gpu->epoch_ns) / 1e9;
    double stepped_s = (double)(long long)(elapsed_s * 10) / 10;
    return (unsigned long long)(gpu->energy_mj + gpu->power_mw * stepped_s);
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; load(); return init_code; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int result) { (void)result; return "stub error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { load(); *count = gpu_count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    load();
    if (gpus[index].codes[C_DEVICE]) return gpus[index].codes[C_DEVICE];
    *handle = (void *)(uintptr_t)(index + 1);
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    Gpu *gpu = gpu_of(handle);
    int instance = instance_of(handle);
    snprintf(uuid, length, "%s", instance < 0 ? gpu->uuid : gpu->instances[instance].uuid);
    return OK;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    (void)handle;
    snprintf(name, length, "Stub GPU");
    return OK;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    unsigned type;
    int result;
    union { double d; unsigned u; unsigned long long ull; } value;
} FieldValue;

int nvmlDeviceGetFieldValues(void *handle, int count, FieldValue *values) {
    Gpu *gpu = gpu_for(handle, C_VALUES, count);
    while (gpu->hang) { sleep(1); load(); }
    int result = code(gpu, C_VALUES);
    if (result) return result;
    for (int i = 0; i < count; i++) {
        FieldValue *v = &values[i];
        int module = v->scope == 1;
        switch (v->field) {
        case 83: v->result = code(gpu, C_ENERGY); v->type = 3; v->value.ull = energy_mj(gpu); break;
        case 191:
            v->result = code(gpu, module ? C_ENERGY_MODULE : C_ENERGY191);
            v->type = 3;
            v->value.ull = energy_mj(gpu);
            break;
        case 185: v->result = code(gpu, module ? C_AVERAGE_MODULE : C_AVERAGE); v->type = 1; v->value.u = gpu->power_mw; break;
        case 186: v->result = code(gpu, module ? C_INSTANT_MODULE : C_INSTANT); v->type = 1; v->value.u = gpu->power_mw; break;
        default: v->result = NOT_SUPPORTED;
        }
        if (v->result) v->value.ull = 0; /* what a careless reader would take for a measurement */
    }
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
    Gpu *gpu = gpu_for(handle, C_ENERGY_CALL, 1);
    *energy = energy_mj(gpu);
    return code(gpu, C_ENERGY_CALL);
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *power_mw) {
    Gpu *gpu = gpu_for(handle, C_POWER_CALL, 1);
    *power_mw = gpu->power_mw;
    return code(gpu, C_POWER_CALL);
}

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } ProcessInfo;

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, ProcessInfo *infos) {
    Gpu *gpu = gpu_for(handle, C_PROCESSES, 1);
    int instance = instance_of(handle), result = code(gpu, C_PROCESSES);
    if (result) return result;
    unsigned room = *count, found = 0;
    for (int i = 0; i < gpu->process_count; i++) {
        if (instance >= 0 && gpu->processes[i].instance != instance) continue;
        if (infos && found < room) infos[found] = (ProcessInfo){gpu->processes[i].pid, gpu->processes[i].bytes, 0, 0};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}

typedef struct { unsigned pid; unsigned long long timestamp_us; unsigned sm, memory, encoder, decoder; } Sample;

int nvmlDeviceGetProcessUtilization(void *handle, Sample *samples, unsigned *count, unsigned long long seen_us) {
    Gpu *gpu = gpu_for(handle, C_UTILIZATION, 1);
    int result = code(gpu, C_UTILIZATION);
    if (result) return result;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    unsigned long long now_us = t.tv_sec * 1000000ull + t.tv_nsec / 1000;
    if (now_us <= seen_us || !gpu->process_count) return NOT_FOUND;
    if (!samples) {
        *count = gpu->process_count + 1;
        return INSUFFICIENT_SIZE;
    }
    for (int i = 0; i < gpu->process_count; i++)
        samples[i] = (Sample){gpu->processes[i].pid, now_us, gpu->processes[i].percent, 0, 0, 0};
    samples[gpu->process_count] = (Sample){0, now_us, 4000000, 0, 0, 0}; /* real drivers return such entries */
    *count = gpu->process_count + 1;
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *wanted) {
    Gpu *gpu = gpu_of(handle);
    if (!gpu->mig) return NOT_SUPPORTED;
    *current = *wanted = 1;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    *count = gpu_of(handle)->mig;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance) {
    if ((int)index >= gpu_of(handle)->instance_count) return NOT_FOUND;
    *instance = (void *)((uintptr_t)handle | (uintptr_t)(index + 1) << 8);
    return OK;
}

typedef struct { unsigned multiprocessors, others[5], gpu_slices, compute_slices; unsigned long long memory_mb; } Attributes;

int nvmlDeviceGetAttributes_v2(void *handle, Attributes *attributes) {
    memset(attributes, 0, sizeof *attributes);
    attributes->gpu_slices = gpu_of(handle)->instances[instance_of(handle)].slices;
    return OK;
}

typedef struct { unsigned long long total, free, used; } Memory;

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    (void)handle;
    *memory = (Memory){80ull << 30, 80ull << 30, 0};
    return OK;
}

/* The shared file of limits: a line of 16 bytes per GPU; none yet, or 0, is the default. */
static unsigned limit_mw(const Gpu *gpu, const unsigned *wanted) {
    char path[512], line[17] = "";
    snprintf(path, sizeof path, "%s.limits", getenv("HELIOTROPE_NVML_SCENARIO"));
    int file = open(path, O_RDWR | O_CREAT, 0600);
    long place = (gpu - gpus) * 16;
    unsigned found = 0;
    if (file < 0) return gpu->highest_mw;
    if (wanted) {
        snprintf(line, sizeof line, "%15u\n", *wanted);
        if (pwrite(file, line, 16, place) != 16) abort();
        found = *wanted;
    } else if (pread(file, line, 16, place) == 16) {
        found = strtoul(line, NULL, 10);
    }
    close(file);
    return found ? found : gpu->highest_mw;
}

int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *limit) {
    Gpu *gpu = gpu_of(handle);
    *limit = limit_mw(gpu, NULL);
    return gpu->highest_mw ? code(gpu, C_LIMIT) : NOT_SUPPORTED;
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *limit) {
    Gpu *gpu = gpu_of(handle);
    *limit = limit_mw(gpu, NULL);
    if (gpu->ceiling_mw && *limit > gpu->ceiling_mw) *limit = gpu->ceiling_mw;
    return gpu->highest_mw ? code(gpu, C_LIMIT) : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned *lowest, unsigned *highest) {
    Gpu *gpu = gpu_of(handle);
    *lowest = gpu->lowest_mw;
    *highest = gpu->highest_mw;
    return gpu->highest_mw ? code(gpu, C_LIMIT) : NOT_SUPPORTED;
}

int nvmlDeviceSetPowerManagementLimit(void *handle, unsigned limit) {
    Gpu *gpu = gpu_of(handle);
    int result = code(gpu, C_LIMIT_SET);
    if (result) return result;
    if (limit < gpu->lowest_mw || limit > gpu->highest_mw) return INVALID_ARGUMENT;
    while (gpu->hang_set == 1) { sleep(1); load(); }
    if (gpu->vanish_set == 1) _exit(9);
    if (gpu->step_mw) limit -= limit % gpu->step_mw;
    limit_mw(gpu, &limit);
    while (gpu->hang_set == 2) { sleep(1); load(); }
    if (gpu->vanish_set == 2) _exit(9);
    return OK;
}

/* What other people's tools ask for besides; they are measured on this stub, too. */
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;

int nvmlDeviceGetMemoryInfo_v2(void *handle, MemoryV2 *memory) {
    gpu_of(handle);
    *memory = (MemoryV2){memory->version, 80ull << 30, 0, 80ull << 30, 0};
    return OK;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, ProcessInfo *infos) {
    Gpu *gpu = gpu_for(handle, C_PROCESSES, 1);
    (void)infos;
    *count = 0;
    return code(gpu, C_PROCESSES);
}

int nvmlDeviceGetUtilizationRates(void *handle, Utilization *rates) {
    gpu_of(handle);
    *rates = (Utilization){50, 10};
    return OK;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    (void)sensor;
    gpu_of(handle);
    *celsius = 50;
    return OK;
}

int nvmlDeviceGetArchitecture(void *handle, unsigned *architecture) {
    gpu_of(handle);
    *architecture = 9; /* Hopper */
    return OK;
}

int nvmlDeviceGetComputeMode(void *handle, unsigned *mode) {
    gpu_of(handle);
    *mode = 0;
    return OK;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "999.0");
    return OK;
}
