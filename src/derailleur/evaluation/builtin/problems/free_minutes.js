function free_minutes(start, end, meetings){
    let free = 0;
    for (let minute = start; minute < end; minute++) {
        if (!meetings.some(([begin, finish]) => begin <= minute && minute < finish)) {
            free += 1;
        }
    }
    return free;
}
