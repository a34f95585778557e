function next_day(year, month, day){
    const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
    const lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if (day < lengths[month - 1]) {
        return [year, month, day + 1];
    }
    if (month < 12) {
        return [year, month + 1, 1];
    }
    return [year + 1, 1, 1];
}
