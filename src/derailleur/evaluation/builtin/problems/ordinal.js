function ordinal(number){
    if ([11, 12, 13].includes(number % 100)) {
        return `${number}th`;
    }
    return number + (['th', 'st', 'nd', 'rd'][number % 10] ?? 'th');
}
