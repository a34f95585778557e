function parse_duration(text){
    const secondsIn = {d: 86400, h: 3600, m: 60, s: 1};
    let total = 0;
    for (const [, number, unit] of text.matchAll(/(\d+)([dhms])/g)) {
        total += Number(number) * secondsIn[unit];
    }
    return total;
}
